"""Validate, the third stage of a file's scoring: what `expectations/features.json` demands of each row alone.

A row that breaks a critical expectation is kept out, with the reasons, as a subject of the weekly run is. Expectations
on the table as a whole do not apply, since there is no week to compare with: how many rows there are, how many values
are missing, which are repeated, whatever has a parameter. Nor is there an error budget: however many rows are bad, the
others are scored. The entry point is `validate_rows`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from pipeline.batch_jobs.handoffs import FileManifest, FilePlan, FileRows, FileValidated
from pipeline.batch_jobs.read import ROW
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
    """Say which rows are kept out: those that could not be read, and those that break a critical expectation.

    Raises
    ------
    ConfigError
        If the suite is absent or broken.
    ConservationError
        If a shard is not the file that was written.
    """
    manifest = FileManifest.read(file_rows.manifest)
    files = manifest.checked_files(file_rows.manifest.parent)
    path = plan.folder / "quarantine.parquet"
    with connection(settings) as con:
        results, failures = _examined(settings, con, manifest, files)
        write_quarantine(con, path, QUARANTINE, _rows_kept_out(con, manifest, files, failures))
        kept_out = int((con.execute("SELECT count(*) FROM quarantine").fetchone() or (0,))[0])
    return FileValidated(
        quarantine=path,
        unreadable=file_rows.unreadable,
        quarantined=kept_out - file_rows.unreadable,
        expectations=len(results),
        warnings=[f"{r.title}: {r.observed}" for r in results if r.status == "failed" and r.severity == "warning"],
    )


def _examined(
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
    """Make the view `features` of the readable rows of these shards, and return the columns that may be looked at."""
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
