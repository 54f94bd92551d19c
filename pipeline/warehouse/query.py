"""One read-only SQL statement on the warehouse, for `barometer query`.

On the embedded server it runs as the analyst's role, which may only read. Entry points: `run_query`
and `write`.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, Literal

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline.errors import ConfigError
from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings
from pipeline.warehouse import engine, unavailable

Format = Literal["table", "csv", "json", "parquet"]
TABLE_ROWS = 1000
"""A table on the terminal ends after this many rows, and says so."""
CELL_WIDTH = 60
BATCH_ROWS = 10_000
TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "numeric": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "json": pa.json_(),
    "jsonb": pa.json_(),
}
"""Arrow's types for PostgreSQL's. Arrays become JSON too; all other types become text."""


def run_query(settings: Settings, sql: str) -> pa.Table:
    """Return the result of one SQL statement, run read-only.

    Raises
    ------
    ConfigError
        If PostgreSQL refuses the statement, with its reason.
    DatabaseUnavailableError
        If the warehouse does not answer.
    """
    warehouse = engine(settings).url  # this also brings the schema up to date, so that a first query finds its tables
    url = databases(settings).analyst or warehouse.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with closing(psycopg.connect(url, connect_timeout=10)) as connection:
            connection.read_only = True
            # PostgreSQL prepares one statement only, so nothing can follow a semicolon.
            cursor = connection.execute(sql.encode(), prepare=True)
            if cursor.statusmessage is None:
                raise _refused("it is empty")
            return _arrow_table(cursor)
    except psycopg.Error as error:
        raise _refusal(error) from None


def write(table: pa.Table, format: Format, out: BinaryIO) -> None:  # noqa: A002 - the command's option
    """Write a table to `out`: drawn for a terminal, or as CSV, a JSON array of objects, or Parquet."""
    if format == "parquet":
        pq.write_table(table, out)
    elif format == "csv":
        columns = [column.cast(pa.string()) if column.type == pa.json_() else column for column in table.columns]
        pa_csv.write_csv(pa.table(columns, names=table.column_names), out)
    elif format == "json":
        out.writelines(_json(table))
    else:
        _draw(table, out)


def _arrow_table(cursor: psycopg.Cursor[Any]) -> pa.Table:
    if cursor.description is None:
        return pa.table({"result": [cursor.statusmessage]})
    kinds = [_kind(column.type_code) for column in cursor.description]
    columns = list(zip(*cursor.fetchall(), strict=True)) or [()] * len(kinds)
    arrays = [
        pa.array([_cell(value, kind) for value in values], getattr(kind, "storage_type", kind)).cast(kind)
        for values, kind in zip(columns, kinds, strict=True)
    ]
    return pa.table(arrays, names=[column.name for column in cursor.description])


def _kind(type_code: int) -> pa.DataType:
    found = psycopg.adapters.types.get(type_code)
    if found is None:
        return pa.string()
    return TYPES.get(found.name, pa.string()) if found.oid == type_code else pa.json_()


def _cell(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if kind == pa.json_():
        return json.dumps(value, ensure_ascii=False, default=str)
    if kind == pa.string():
        return str(value)
    return float(value) if kind == pa.float64() else value


def _json(table: pa.Table) -> Iterator[bytes]:
    documents = [field.name for field in table.schema if field.type == pa.json_()]
    separator = b"[\n"
    for batch in table.to_batches(BATCH_ROWS):
        for row in batch.to_pylist():
            for name in documents:
                row[name] = json.loads(row[name] or "null")
            yield separator + json.dumps(row, ensure_ascii=False, default=str).encode()
            separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _draw(table: pa.Table, out: BinaryIO) -> None:
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        drawn.add_column(field.name, justify="right" if is_number else "left", overflow="fold", max_width=CELL_WIDTH)
    for batch in table.slice(length=TABLE_ROWS).to_batches():
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            drawn.add_row(*("" if value is None else str(value) for value in row))
    console = Console(markup=False, highlight=False, emoji=False)
    unsqueezed = console.measure(drawn, options=console.options.update(max_width=10_000))
    console.width = max(console.width, unsqueezed.maximum)  # a table that is too wide can still be read
    with console.capture() as capture:
        console.print(drawn)
        if table.num_rows > TABLE_ROWS:
            console.print(f"… and {table.num_rows - TABLE_ROWS} more rows; --format csv, json or parquet gives all.")
    out.write(capture.get().encode())


def _refusal(error: psycopg.Error) -> Exception:
    is_lost = isinstance(error, psycopg.OperationalError) and unavailable(error, error.sqlstate) is not error
    return unavailable(error, error.sqlstate) if is_lost else _refused(str(error).strip())


def _refused(reason: str) -> ConfigError:
    return ConfigError(
        f"PostgreSQL refuses the statement: {reason}",
        "one SQL statement that reads the warehouse's tables and views.",
        'correct it; barometer query "SELECT table_name, column_name FROM information_schema.columns'
        " WHERE table_schema = 'public'\" lists the tables and columns.",
    )
