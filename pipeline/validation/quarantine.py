"""Quarantine: the subjects that are kept out of a run, and why; part of validating the features.

Built-in checks find rows that no model may see: a subject with several rows, a number that is not
finite, an empty key. The suite's critical expectations on rows find the others. If one row of a
subject fails, all its rows are kept out. The entry point is `examine`, for the weekly run and for
the weeks that train a model.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.duck import connection, literal, parquet, quoted
from pipeline.files import written_atomically
from pipeline.manifests import KEYS, ShardsManifest, SnapshotManifest
from pipeline.settings import Settings
from pipeline.validation.gx import Result, validate
from pipeline.validation.suites import ACROSS_ROWS, load_suite

COLUMNS = {"shard": "INTEGER", "row": "BIGINT", **dict.fromkeys(KEYS, "TEXT"), "reasons": "TEXT[]"}
"""The columns of a quarantine's Parquet file. `row` is the position in the shard, from 0."""
SUITE = "features, built in"
_LONGEST_VALUE = 200
_ACROSS_ROWS = {"subject_is_there_once", *ACROSS_ROWS}


@dataclass(frozen=True)
class Failure:
    """The rows that fail one expectation."""

    result: Result
    query: str
    """SQL that returns the columns that identify a row (a subject's two keys), then the faulty values."""
    faults: list[str]
    """A word for each faulty value: `value`, or the columns' names if there are several."""


@dataclass(frozen=True)
class Examined:
    """The findings of the built-in checks and the suite in a snapshot."""

    results: list[Result]
    about_rows: list[Result]
    """Those results for which subjects are kept out."""
    sections: str
    """Great Expectations' page sections for the suite, as HTML."""
    quarantined: int
    """Subjects."""


def examine(
    settings: Settings, manifest: SnapshotManifest, files: Sequence[Path], parameters: Mapping[str, Any], path: Path
) -> Examined:
    """Validate the features in a snapshot's shards, and write the quarantine's file to `path`.

    Raises
    ------
    ConfigError
        If the suite is absent or broken.
    """
    with connection(settings) as con:
        columns = create_view(con, manifest, files)
        suite = load_suite("features", settings.expectations / "features.json", columns, parameters)
        evaluated = validate(con, "features", suite, timezone=settings.timezone, index=KEYS)
        results, failures = built_in_failures(con, manifest)
        failures += [failure_of(result, query) for result, query in evaluated.queries if result.stops]
        write_quarantine(con, path, list(COLUMNS), rows_kept_out(con, manifest, files, failures))
        quarantined = _count(con, "SELECT count(DISTINCT (customer_id, product_id)) FROM quarantine")
    about_rows = [failure.result for failure in failures]
    return Examined([*results, *evaluated.results], about_rows, evaluated.sections, quarantined)


def failure_of(result: Result, query: str) -> Failure:
    """Return the failure of an expectation, with the query that Great Expectations gave."""
    return Failure(result, query, ["value"] if len(result.columns) == 1 else result.columns)


def create_view(con: duckdb.DuckDBPyConnection, manifest: SnapshotManifest, files: Sequence[Path]) -> list[str]:
    """Create the view `features` of these shards of the snapshot; return its columns."""
    columns = [*KEYS, *manifest.names("number", "category", "info")]
    con.execute(f"CREATE OR REPLACE VIEW features AS SELECT {', '.join(map(quoted, columns))} FROM {parquet(*files)}")
    return columns


def built_in_failures(con: duckdb.DuckDBPyConnection, manifest: SnapshotManifest) -> tuple[list[Result], list[Failure]]:
    """Return the results of the built-in checks, and the rows that fail them."""
    checks = {("key_is_not_empty", key): f"coalesce(trim({quoted(key)}), '') = ''" for key in KEYS}
    checks |= finite(manifest)
    results, failures = failures_of_rows(con, manifest.rows, checks, KEYS)
    repeated = "SELECT customer_id, product_id, count(*) AS copies FROM features GROUP BY ALL HAVING copies > 1"
    copies = 0
    if manifest.rows != manifest.subjects:  # if they are equal, a scan of all keys would find nothing
        copies = _count(con, f"SELECT coalesce(sum(copies), 0) FROM ({repeated})")
    results.append(_result("subject_is_there_once", list(KEYS), manifest.rows, copies))
    if copies:
        failures.append(Failure(results[-1], repeated, ["rows"]))
    return results, failures


def finite(manifest: ShardsManifest) -> dict[tuple[str, str], str]:
    """Return the check that no number is infinite."""
    return {("value_is_finite", name): f"NOT isfinite({quoted(name)})" for name in manifest.names("number")}


def failures_of_rows(
    con: duckdb.DuckDBPyConnection, rows: int, checks: Mapping[tuple[str, str], str], index: Sequence[str]
) -> tuple[list[Result], list[Failure]]:
    """Return the results of checks on the single `rows` of `features`, and the rows that fail.

    `checks` has, by name and column, the SQL condition that a bad row meets. `index` has the columns that identify a
    row.
    """
    if not checks:
        return [], []
    counted = ", ".join(f"count(*) FILTER ({condition})" for condition in checks.values())
    row = con.execute(f"SELECT {counted} FROM features").fetchone() or ()
    results, failures = [], []
    for ((kind, column), condition), count in zip(checks.items(), row, strict=True):
        results.append(_result(kind, [column], rows, count))
        if count:
            query = f"SELECT {', '.join(index)}, {quoted(column)} FROM features WHERE {condition}"
            failures.append(Failure(results[-1], query, ["value"]))
    return results, failures


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row else 0


def _result(kind: str, columns: list[str], rows: int, count: int) -> Result:
    return Result(
        suite=SUITE,
        type=kind,
        kwargs={"column_list": columns},
        severity="critical",
        status="failed" if count else "passed",
        observed=f"{count} of {rows} rows fail",
        expected=f"{kind}({', '.join(columns)})",
        unexpected_rows=count,
    )


def write_quarantine(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str], rows: Iterable[str]) -> None:
    """Write a quarantine's file, with these of the columns in `COLUMNS`.

    `rows` has a query for each shard. They run one at a time, since the lists of reasons are in memory until the last
    row of their shard is seen.
    """
    con.execute(f"CREATE TEMP TABLE quarantine ({', '.join(f'{name} {COLUMNS[name]}' for name in columns)})")
    for query in rows:
        con.execute(f"INSERT INTO quarantine {query}")
    with written_atomically(path) as temporary:
        con.execute(f"COPY quarantine TO {literal(temporary)} (FORMAT parquet)")


def rows_kept_out(
    con: duckdb.DuckDBPyConnection, manifest: SnapshotManifest, files: Sequence[Path], failures: Sequence[Failure]
) -> Iterator[str]:
    """Yield a query for each shard. If one row of a subject fails, all of its rows are kept out."""
    queries = [_query_by_shard(con, failure, number) for number, failure in enumerate(failures)]
    for shard, file in enumerate(files if failures else []):
        create_view(con, manifest, [file])
        yield _quarantined(shard, file, failures, queries)


def _query_by_shard(con: duckdb.DuckDBPyConnection, failure: Failure, number: int) -> str:
    """Return the query to run on each shard. One that must see all rows runs here, into a table."""
    if failure.result.type not in _ACROSS_ROWS:
        return failure.query
    con.execute(
        f"CREATE TEMP TABLE failing_{number} AS SELECT * FROM ({failure.query}) AS failing({_names(failure, KEYS)})"
    )
    return f"SELECT * FROM failing_{number}"


def _quarantined(shard: int, file: Path, failures: Sequence[Failure], queries: Sequence[str]) -> str:
    return f"""
        SELECT {shard}, file_row_number, rows.customer_id, rows.product_id, reasons
        FROM {parquet(file)} AS rows
        JOIN ({reasons_query(failures, queries, KEYS)}) AS subjects
            ON rows.customer_id IS NOT DISTINCT FROM subjects.customer_id
            AND rows.product_id IS NOT DISTINCT FROM subjects.product_id
        ORDER BY file_row_number
    """


def reasons_query(failures: Sequence[Failure], queries: Sequence[str], index: Sequence[str]) -> str:
    """Return SQL for the `index` columns and `reasons`, a list of text, of each row that fails.

    There is at least one failure. `queries` has the SQL to use for each of them.
    """
    named = ", ".join(index)
    faults = " UNION ALL ".join(
        f"SELECT {named}, {{number: {number}, fault: {_fault(failure)}}} AS fault"
        f" FROM ({query}) AS failing({_names(failure, index)})"
        for number, (failure, query) in enumerate(zip(failures, queries, strict=True), 1)
    )
    titles = ", ".join(literal(f"{failure.result.title}: ") for failure in failures)
    return f"""
        SELECT {named}, list_transform(faults, lambda fault: [{titles}][fault.number] || fault.fault) AS reasons
        FROM (
            SELECT {named}, list_sort(list_distinct(list(fault))) AS faults FROM ({faults}) GROUP BY {named}
        )
    """


def _names(failure: Failure, index: Sequence[str]) -> str:
    return ", ".join([*index, *(f"fault_{at}" for at in range(len(failure.faults)))])


def _fault(failure: Failure) -> str:
    """Return SQL that describes a fault: `value 12.5`, or `a 1.0, b 2.0`."""
    texts = [
        f"{literal(word + ' ')} || coalesce(left(fault_{at}::TEXT, {_LONGEST_VALUE}), 'missing')"
        for at, word in enumerate(failure.faults)
    ]
    return " || ', ' || ".join(texts)
