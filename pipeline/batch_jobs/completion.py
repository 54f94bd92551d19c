"""Completion, the last stage of a file's scoring: check that every row has one answer, and write the results.

The rows of the file = predicted + rejected, each row exactly once, counted in the files themselves. The files of
expired jobs are removed. The entry point is `complete_job`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.batch_jobs.file_rows import ROW
from pipeline.batch_jobs.job_handoffs import FileManifest, FilePlan, FileRows, FileScored, FileValidated
from pipeline.batch_jobs.places import FINISHED_FILE, REJECTS_FILE, RESULTS_FILE, sweep
from pipeline.duck import connection, literal, parquet
from pipeline.errors import ConservationError, ExpectationError
from pipeline.files import write_text
from pipeline.manifests import KEYS
from pipeline.models.predictions import Scored, whole_parts, write
from pipeline.models.scoring.scorer import SCORES_SCHEMA
from pipeline.settings import Settings
from pipeline.sources.casts import RAW, REASON
from pipeline.sources.stream import MARK
from pipeline.sources.texts import LINE

BATCH_ROWS = 65_536
_KEYS = [(key, pa.string()) for key in KEYS]
_MODEL = [("role", pa.string()), ("model_version", pa.string())]
RESULTS_SCHEMA = pa.schema([("row", pa.int64()), *_KEYS, *SCORES_SCHEMA, *_MODEL, ("error", pa.string())])
"""One line for each row of the file; `error` says why a row has no prediction."""
REJECTS_SCHEMA = pa.schema(
    [
        *(("row", pa.int64()), ("line", pa.int64()), *_KEYS),
        *(("kind", pa.string()), ("reason", pa.string()), ("content", pa.string())),
    ]
)
"""`kind` is unreadable or quarantined; `content` is the text of an unreadable row in the file."""


def complete_job(
    settings: Settings,
    plan: FilePlan,
    file_rows: FileRows,
    rows_validated: FileValidated,
    scored: Sequence[Scored],
) -> FileScored:
    """Write the results and the rejects in the file's order, and remove expired jobs.

    Raises
    ------
    ConservationError
        If a row is missing or repeated, or a file has changed since its stage wrote it.
    ExpectationError
        If a satisfaction is not between 0 and 1.
    """
    manifest = FileManifest.read(file_rows.manifest)
    shards = manifest.checked_files(file_rows.manifest.parent)
    parts = whole_parts(manifest, scored)
    results, rejects = plan.folder / RESULTS_FILE, plan.folder / REJECTS_FILE
    quarantine = rows_validated.quarantine
    with connection(settings) as con:
        rows = write(results, RESULTS_SCHEMA, _results(con, plan, shards, [part.file for part in parts], quarantine))
        rejected = write(rejects, REJECTS_SCHEMA, _rejects(con, shards, quarantine))
    kept_out = rows_validated.unreadable + rows_validated.quarantined
    if (rows, rejected, sum(part.rows for part in parts)) != (file_rows.rows, kept_out, file_rows.rows - kept_out):
        raise _not_conserved(f"{rows} became results and {rejected} rejects", f"{file_rows.rows} and {kept_out}")
    done = FileScored(
        results=results,
        rejects=rejects,
        rows=file_rows.rows,
        predicted=rows - rejected,
        unreadable=rows_validated.unreadable,
        quarantined=rows_validated.quarantined,
        warnings=rows_validated.warnings,
        ignored_columns=file_rows.ignored_columns,
        model_version=plan.model_version,
        finished_at=datetime.now(UTC),
    )
    write_text(plan.folder / FINISHED_FILE, done.model_dump_json(indent=1))
    sweep(settings)
    return done


def _results(
    con: duckdb.DuckDBPyConnection, plan: FilePlan, shards: Sequence[Path], parts: Sequence[Path], quarantine: Path
) -> Iterator[pa.RecordBatch]:
    """Yield one line for each row of the file, shard by shard, so that memory does not grow with the file."""
    row = 0
    for number, (shard, part) in enumerate(zip(shards, parts, strict=True)):
        query = f"""
            SELECT
                coalesce(r.{ROW}, p.{ROW}) AS row, customer_id, product_id, satisfaction, likely_satisfied, role,
                model_version, array_to_string(reasons, '; ') AS error
            FROM (SELECT *, file_row_number FROM {parquet(shard)}) AS r
            FULL JOIN {parquet(part)} AS p ON r.{ROW} = p.{ROW}
            FULL JOIN (SELECT row, reasons FROM {parquet(quarantine)} WHERE shard = {number}) AS q
                ON r.file_row_number = q.row
            ORDER BY 1
        """
        for batch in con.sql(query).to_arrow_reader(BATCH_ROWS):
            _check(plan, batch, row)
            row += batch.num_rows
            yield batch.cast(RESULTS_SCHEMA)


def _rejects(con: duckdb.DuckDBPyConnection, shards: Sequence[Path], quarantine: Path) -> Iterator[pa.RecordBatch]:
    for number, shard in enumerate(shards):
        query = f"""
            SELECT
                {ROW} AS row, {LINE} AS line, customer_id, product_id,
                CASE WHEN {REASON} IS NULL THEN 'quarantined' ELSE 'unreadable' END AS kind,
                array_to_string(reasons, '; ') AS reason, replace({RAW}, {literal(MARK)}, '') AS content
            FROM (SELECT *, file_row_number FROM {parquet(shard)}) AS r
            JOIN (SELECT row, reasons FROM {parquet(quarantine)} WHERE shard = {number}) AS q
                ON r.file_row_number = q.row
            ORDER BY 1
        """
        for batch in con.sql(query).to_arrow_reader(BATCH_ROWS):
            yield batch.cast(REJECTS_SCHEMA)


def _check(plan: FilePlan, batch: pa.RecordBatch, first: int) -> None:
    """Refuse rows that are not the next ones of the file or do not have one answer each."""
    numbers = batch.column("row").to_numpy(zero_copy_only=False)
    if not np.array_equal(numbers, np.arange(first, first + batch.num_rows)):
        raise _not_conserved(
            f"the rows {first} to {first + batch.num_rows - 1} are not all present once", "each row once"
        )
    satisfaction = batch.column("satisfaction")
    answers = pc.xor(satisfaction.is_valid(), batch.column("error").is_valid())
    if not pc.all(answers, min_count=0).as_py():
        raise _not_conserved("a row is both predicted and rejected, or neither", "one answer for each row")
    inside = pc.and_(pc.greater_equal(satisfaction, 0), pc.less_equal(satisfaction, 1))  # neither is true of NaN
    if not pc.all(inside, min_count=0).as_py():
        raise ExpectationError(
            f"The model version {plan.model_version} gives satisfactions that are not between 0 and 1.",
            "a satisfaction from 0 to 1 for every row.",
            "promote another version; this one must not be used.",
        )


def _not_conserved(found: str, expected: str) -> ConservationError:
    return ConservationError(
        f"Of the file's rows, {found}.",
        f"{expected}.",
        "clear the task that reads the file and those after it; if it happens again, report it with the file.",
    )
