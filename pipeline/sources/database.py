"""Reads a table or query behind a SQLAlchemy URL as text, streaming, in the order of its declared columns.

A source's URL is its own, or that of one of Airflow's connections. Nothing here imports Airflow: code that runs inside
Airflow lends its look-up (`lend_look_up`). The entry points are `read_database` and `database_uri`.
"""

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from pipeline.errors import ConfigError, SourceError
from pipeline.settings import Source
from pipeline.settings.secrets import filled_url
from pipeline.sources.texts import LINE, Texts

_FETCH_ROWS = 10_000
_lent: list[Callable[[str], sa.URL]] = []


class Digest:
    """The digest and size of the rows read so far, used like those of a file."""

    def __init__(self) -> None:
        self.sha256, self.size_bytes = sha256(), 0

    def add(self, rows: list[list[str | None]]) -> None:
        """Add rows, in the order in which they were read."""
        data = json.dumps(rows).encode()
        self.sha256.update(data)
        self.size_bytes += len(data)


def read_database(name: str, source: Source, digest: Digest) -> Texts:
    """Return the rows of a source's table or query.

    They are ordered by the declared columns, so that the same rows get the same digest and the same line numbers. If
    the source declares a format of dates or times, the database holds them as text.

    Raises
    ------
    ConfigError
        If the URL is malformed, names a variable that is not set, or Airflow does not know the connection.
    SourceError
        While reading, if the database cannot be reached or refuses the query.
    """
    columns = [f"c{index}" for index in range(len(source.columns))]
    schema = pa.schema([*((column, pa.string()) for column in columns), (LINE, pa.int64())])
    return Texts(
        schema=schema,
        batches=_batches(name, source, schema, digest),
        columns=dict(zip(source.columns, columns, strict=True)),
        raw=f"CAST(to_json([{', '.join(columns)}]) AS VARCHAR)",
        typed=frozenset() if source.timestamp_format or source.date_format else frozenset(source.columns),
    )


def database_url(name: str, source: Source) -> sa.URL:
    """Return the source's URL: its own, with `$NAME` taken from the environment, or that of its Airflow connection."""
    if source.connection is not None:
        if not _lent:
            raise ConfigError(
                f"Source {name}: its connection {source.connection!r} is Airflow's,"
                " and this process is not inside Airflow.",
                "a DAG run.",
                "read the source in a run: barometer run or barometer train.",
            )
        return _lent[0](source.connection)
    try:
        return sa.make_url(filled_url(source.url or "", f"Source {name}"))
    except sa.exc.ArgumentError:
        raise ConfigError(
            f"Source {name}: `url` is not a SQLAlchemy URL.",
            "driver://user:password@host:port/database.",
            "correct `url` of the source, or the variable it names.",
        ) from None


def lend_look_up(look_up: Callable[[str], sa.URL]) -> None:
    """Let the sources of this process use Airflow's connections; `look_up` returns a connection's URL by its id."""
    _lent[:] = [look_up]


def database_uri(name: str, source: Source) -> str:
    """Return the source's address without its password, for people."""
    place = database_url(name, source).render_as_string(hide_password=True)
    return f"{place}#{source.table or 'query'}"


def _batches(name: str, source: Source, schema: pa.Schema, digest: Digest) -> Iterator[pa.RecordBatch]:
    engine = None
    line = 0
    try:
        engine = sa.create_engine(database_url(name, source), poolclass=sa.NullPool)
        with engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=_FETCH_ROWS)
            for rows in streaming.execute(_select(source)).partitions():
                texts = [[_text(value) for value in row] for row in rows]
                digest.add(texts)
                lines = pa.array(range(line + 1, line + 1 + len(texts)), pa.int64())
                line += len(texts)
                arrays = [pa.array(column, pa.string()) for column in zip(*texts, strict=True)]
                yield pa.RecordBatch.from_arrays([*arrays, lines], schema=schema)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        problem = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise SourceError(
            f"Source {name}: {database_uri(name, source)} cannot be read: {problem}.",
            f"rows with the columns {', '.join(source.columns)}.",
            "check the database, `url`, `table` or `query`, and `columns` of the source, then run the week again.",
        ) from None
    finally:
        if engine is not None:
            engine.dispose()


def _select(source: Source) -> sa.Select[Any]:
    columns: list[sa.ColumnClause[Any]] = [sa.column(column) for column in source.columns]
    if source.query is not None:
        rows: sa.FromClause = sa.text(source.query.rstrip().rstrip(";")).columns(*columns).subquery("source_rows")
    else:
        *schema, table = (source.table or "").rsplit(".", 1)
        rows = sa.table(table, *columns, schema=schema[0] if schema else None)
    return sa.select(*rows.c).order_by(*rows.c)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value.hex() if isinstance(value, bytes) else str(value)
