"""Validate, the third stage of a file's scoring: the expectations of `expectations/features.json` on single rows.

A row that breaks a critical expectation is kept out with the reasons, like a subject in the weekly run. Expectations
on the whole table do not apply, because there is no week to compare with: the number of rows, of missing or of repeated
values, and everything with a parameter. There is no error budget: the good rows are scored, however many are bad. The
entry point is `validate_rows`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from pipeline.batch_jobs.file_rows import ROW
from pipeline.batch_jobs.job_handoffs import FileManifest, FilePlan, FileRows, FileValidated
from pipeline.duck import connection, parquet, quoted
from pipeline.settings import Settings
from pipeline.sources.casts import REASON
from pipeline.validation.gx import Result, validate
from pipeline.validation.quarantine import (
    Failure,
    failure_of,
    failures_of_rows,
    finite,
    reasons_query,
    write_quarantine,
)
from pipeline.validation.suites import concerns_rows_of, load_suite

QUARANTINE = ("shard", "row", "reasons")
"""The columns of a job's quarantine, of `pipeline.validation.quarantine.COLUMNS`; a row may have no keys."""


def validate_rows(settings: Settings, plan: FilePlan, file_rows: FileRows) -> FileValidated:
    """Return which rows are kept out: those that could not be read, and those that break a critical expectation.

    Raises
    ------
    ConfigError
        If the suite is absent or invalid.
    ConservationError
        If a shard has changed since it was written.
    """
    manifest = FileManifest.read(file_rows.manifest)
    files = manifest.checked_files(file_rows.manifest.parent)
    path = plan.folder / "quarantine.parquet"
    with connection(settings) as con:
        results, failures = _examine(settings, con, manifest, files)
        write_quarantine(con, path, QUARANTINE, _rows_kept_out(con, manifest, files, failures))
        kept_out = int((con.execute("SELECT count(*) FROM quarantine").fetchone() or (0,))[0])
    return FileValidated(
        quarantine=path,
        unreadable=file_rows.unreadable,
        quarantined=kept_out - file_rows.unreadable,
        expectations=len(results),
        warnings=[f"{r.title}: {r.observed}" for r in results if r.status == "failed" and r.severity == "warning"],
    )


def _examine(
    settings: Settings, con: duckdb.DuckDBPyConnection, manifest: FileManifest, files: Sequence[Path]
) -> tuple[list[Result], list[Failure]]:
    columns = _create_view(con, manifest, files)
    applies = concerns_rows_of(columns)
    suite = load_suite("features", settings.expectations / "features.json", columns, {}, applies)
    evaluated = validate(con, "features", suite, timezone=settings.timezone, index=[ROW])
    results, failures = failures_of_rows(con, manifest.rows, finite(manifest), [ROW])
    failures += [failure_of(result, query) for result, query in evaluated.queries if result.stops]
    return [*results, *evaluated.results], failures


def _create_view(con: duckdb.DuckDBPyConnection, manifest: FileManifest, files: Sequence[Path]) -> list[str]:
    """Create the view `features` of these shards' readable rows; return the columns that expectations may use."""
    columns = [*manifest.has, *manifest.names("number", "category")]
    selected = ", ".join([ROW, *map(quoted, columns)])
    con.execute(f"CREATE OR REPLACE VIEW features AS SELECT {selected} FROM {parquet(*files)} WHERE {REASON} IS NULL")
    return columns


def _rows_kept_out(
    con: duckdb.DuckDBPyConnection, manifest: FileManifest, files: Sequence[Path], failures: Sequence[Failure]
) -> Iterator[str]:
    for shard, file in enumerate(files):
        _create_view(con, manifest, [file])
        unreadable = f"SELECT {ROW}, [{REASON}] AS reasons FROM {parquet(file)} WHERE {REASON} IS NOT NULL"
        failing = [reasons_query(failures, [failure.query for failure in failures], [ROW])] if failures else []
        kept_out = " UNION ALL ".join(f"SELECT * FROM ({query})" for query in (unreadable, *failing))
        yield (
            f"SELECT {shard}, file_row_number, reasons FROM {parquet(file)}"
            f" JOIN ({kept_out}) USING ({ROW}) ORDER BY file_row_number"
        )
