"""A week's snapshot: its features, made from the sources by `features.sql` as of the cutoff.

The SQL sees the sources only through the views of `pipeline.point_in_time.source_views`. What it
returns is checked, cast to what a model sees, and written as shards. Entry points:
`build_snapshot`, for the weekly run and for the past weeks of a training; `find_snapshot`, for a
past week whose snapshot exists; and `cast_for_model`, for rows that come in a file.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from pipeline.code_version import code_version
from pipeline.duck import connection, literal, parquet, quoted
from pipeline.errors import ConservationError, FeatureError, WeekError
from pipeline.files import sha256_of_text
from pipeline.manifests import KEYS, ColumnKind, FeatureColumn, SnapshotManifest, SourceRead, SourcesManifest
from pipeline.point_in_time.company_sql import CompanyQuery, company_query
from pipeline.point_in_time.shards import HASH, write_shards
from pipeline.point_in_time.source_views import create_views
from pipeline.point_in_time.subject_hash import hash_of_key
from pipeline.settings import Settings
from pipeline.weeks import Week

_FLOAT32_END = "3.4028235677973366e38"
"""From here on a double, rounded to float32, is infinite."""
_RESERVED = {"week", "satisfied", "observed_at"}
_UNNAMEABLE = re.compile(r'["\\\x00-\x1f\x7f]')
"""Characters that no request to the service can have in a field's name."""
_NUMBERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
    "FLOAT", "DOUBLE", "BOOLEAN",
}  # fmt: skip


def build_snapshot(settings: Settings, week: Week, sources: SourcesManifest, folder: Path) -> Path:
    """Run `features.sql` at the week's cutoff, write the snapshot and return its manifest's path.

    Equal sources and equal SQL give equal bytes, with any number of threads.

    Raises
    ------
    FeatureError
        If `features.sql` fails or breaks its contract.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cutoff = week.cutoff(settings.zone)
    part = folder / f".tmp-{uuid4().hex}.parquet"
    try:
        with connection(settings, readable=[settings.home / "ingested", folder]) as con:
            create_views(con, settings, sources, cutoff)
            offered = {"week_start": week.start(settings.zone), "week_end": cutoff}
            query = company_query(con, settings.features_sql, sources.sources, offered)
            columns = _run(con, query, part)
            _check_keys(con, query, week, part)
            shards, subjects = write_shards(con, part, columns, folder, settings.resources.shard_rows)
    finally:
        part.unlink(missing_ok=True)
    manifest = SnapshotManifest(
        week=str(week),
        cutoff=cutoff,
        sql_digest=query.digest,
        columns=columns,
        rows=sum(shard.rows for shard in shards),
        subjects=subjects,
        shards=shards,
        sources=sources.sources,
        made_by=_made_by(settings),
    )
    path = folder / "manifest.json"
    manifest.write(path)
    return path


def find_snapshot(settings: Settings, week: Week, sources: SourcesManifest, among: Iterable[Path]) -> Path | None:
    """Return the manifest `among` these whose snapshot `build_snapshot` would make again; None if there is none.

    The same code, SQL and settings made it, and the SQL saw the same rows. A source's file may differ
    in what was not known by the cutoff: rows of later weeks, or cells that became known later.
    """
    for path in among:
        with suppress(ConservationError, duckdb.Error, OSError):  # it, or what it was made from, is damaged or gone
            made = SnapshotManifest.read(path)
            sql = settings.features_sql.read_text(encoding="utf-8", errors="replace")
            if (made.made_by, made.sql_digest) != (_made_by(settings), sha256_of_text(sql)):
                continue
            old, new = ({n: [f.parquet for f in r.files] for n, r in m.sources.items()} for m in (made, sources))
            changed = [name for name in new if old[name] != new[name]]
            then, now = (_rows_seen(settings, week, m.sources, changed) for m in (made, sources))
            if then == now:
                made.checked_files(path.parent)
                return path
    return None


def _made_by(settings: Settings) -> str:
    """Return a digest of all that decides a week's snapshot besides the SQL and the rows that it sees."""
    declared = [settings.timezone, settings.resources.shard_rows, settings.sources]
    return sha256_of_text(repr([code_version(), duckdb.__version__, *declared]))


def _rows_seen(settings: Settings, week: Week, sources: dict[str, SourceRead], names: list[str]) -> list[Any]:
    """Return the number of rows that SQL sees of each source at the week's cutoff, and a checksum of them."""
    some = SourcesManifest(week=str(week), sources={name: sources[name] for name in names})
    with connection(settings) as con:
        create_views(con, settings, some, week.cutoff(settings.zone))
        counted = "SELECT count(*), sum(CAST(hash(*COLUMNS(*)) AS HUGEINT)) FROM"
        return [con.execute(f"{counted} {quoted(name)}").fetchone() for name in names]


def _run(con: duckdb.DuckDBPyConnection, query: CompanyQuery, part: Path) -> list[FeatureColumn]:
    """Write the query's result to a Parquet file, cast to what a model sees, with the keys' hash."""
    try:
        described = con.execute(f"DESCRIBE {query.sql}", query.parameters).fetchall()
        kinds = {str(name): str(kind) for name, kind, *_ in described}
        columns = _columns(query, [str(name) for name, *_ in described], kinds)
        casts = ", ".join(cast_for_model(column, kinds[column.name]) for column in columns)
        con.execute(
            f"COPY (SELECT customer_id, product_id, {casts}, {hash_of_key()} AS {HASH} FROM ({query.sql})) "
            f"TO {literal(part)} (FORMAT parquet)",
            query.parameters,
        )
    except duckdb.Error as error:
        raise query.failed(error) from None
    return columns


def _columns(query: CompanyQuery, names: list[str], kinds: dict[str, str]) -> list[FeatureColumn]:
    """Return the columns other than the keys, or raise a `FeatureError`."""
    if wrong := [key for key in KEYS if kinds.get(key) != "VARCHAR"]:
        raise _broken(
            query,
            f"returns no text column {wrong[0]!r}; it returns {', '.join(f'{n} {kinds[n]}' for n in names)}",
            "customer_id and product_id as text (CAST(… AS VARCHAR))",
        )
    others = [name for name in names if name not in KEYS]
    lowered = [name.lower() for name in names]
    for name in others:
        if lowered.count(name.lower()) > 1 or name.lower() in _RESERVED or name.startswith("__"):
            raise _broken(
                query,
                f"returns the column {name!r}",
                "each name once, and neither `week`, `satisfied`, `observed_at` nor a name that starts with `__`",
            )
        if _UNNAMEABLE.search(name):
            raise _broken(
                query, f"returns the column {name!r}", "names without double quotes, backslashes and control characters"
            )
    columns = [FeatureColumn(name=name, kind=_kind(query, name, kinds[name])) for name in others]
    if not any(column.kind in {"number", "category"} for column in columns):
        raise _broken(
            query, "returns no feature column", "at least one number, boolean or text besides the keys and info_*"
        )
    return columns


def _kind(query: CompanyQuery, name: str, kind: str) -> ColumnKind:
    is_nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "BLOB", "LIST"))
    if name.startswith("info_") and not is_nested:
        return "info"
    if kind in _NUMBERS or kind.startswith("DECIMAL"):
        return "number"
    if kind == "VARCHAR" or kind.startswith("ENUM"):
        return "category"
    raise _broken(
        query,
        f"returns {name!r} of type {kind}",
        "features that are numbers, booleans or text (a time as a number of days: date_diff('day', …, $week_end))",
    )


def cast_for_model(column: FeatureColumn, kind: str) -> str:
    """Return SQL that casts a column to what a model sees: text or float32 (inf if too large)."""
    name = quoted(column.name)
    if column.kind != "number":
        return f"CAST({name} AS VARCHAR) AS {name}"
    if kind == "BOOLEAN":
        return f"CAST({name} AS FLOAT) AS {name}"
    number = f"CAST({name} AS DOUBLE)"
    return (
        f"CASE WHEN isnan({number}) THEN NULL WHEN abs({number}) >= {_FLOAT32_END} "
        f"THEN CAST(sign({number}) * CAST('inf' AS DOUBLE) AS FLOAT) ELSE CAST({number} AS FLOAT) END AS {name}"
    )


def _check_keys(con: duckdb.DuckDBPyConnection, query: CompanyQuery, week: Week, part: Path) -> None:
    rows, whole = con.execute(
        f"SELECT count(*), count(*) FILTER (customer_id IS NOT NULL AND product_id IS NOT NULL) FROM {parquet(part)}"
    ).fetchall()[0]
    if whole < rows:
        raise _broken(
            query,
            f"returns {rows - whole} rows without customer_id or product_id",
            "both keys in every row (leave out rows without keys, or name them)",
        )
    if rows == 0:
        raise WeekError(
            f"{query.path} returns no subject for the week {week}.",
            "at least one row.",
            "check that the sources reach back to that week, or correct the SQL.",
        )


def _broken(query: CompanyQuery, problem: str, expected: str) -> FeatureError:
    return FeatureError(f"{query.path} {problem}.", f"{expected}.", "correct the SQL and run the week again.")
