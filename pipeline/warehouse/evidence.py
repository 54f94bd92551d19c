"""What was kept out, into the warehouse: rejects of the sources, and the subjects in quarantine, both whole.

Evidence is committed at once, by itself, so that it is there when the stage that found it stops the run. Entry points:
`record_rejects`, `accept_rejects`, `record_quarantine`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import text

from pipeline.duck import connection, literal, parquet, quoted
from pipeline.handoffs import Plan
from pipeline.manifests import SnapshotManifest, SourceFile
from pipeline.settings import Settings
from pipeline.warehouse import JSONB_VERSION, loading, transaction

BATCH_ROWS = 16_384
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in ("file_digest", "uri", "reason", "content")]).append(
    pa.field("line", pa.int64())
)
NUL = "\0"
"""The one character that PostgreSQL's text cannot hold; it is kept as the four characters \\x00."""


def record_rejects(settings: Settings, run_id: str, source: str, files: Sequence[SourceFile]) -> int:
    """Record the rejects of a source's files, each once however often its file is read.

    Returns
    -------
    int
        How many of them are new: not covered by the error budget of any run so far.
    """
    rejects = pa.RecordBatchReader.from_batches(REJECTS_SCHEMA, _rejects(files))
    with loading(settings) as cursor:
        cursor.adbc_ingest("met", rejects, mode="create", temporary=True)
        cursor.execute(
            "INSERT INTO rejects (source, file_digest, line, uri, reason, content, first_run_id)"
            " SELECT $1, file_digest, line, uri, reason, content, $2 FROM met ORDER BY file_digest, line"
            " ON CONFLICT DO NOTHING",
            (source, run_id),
        )
        cursor.execute(
            "SELECT count(*) FROM rejects WHERE source = $1 AND accepted_run_id IS NULL"
            " AND (file_digest, line) IN (SELECT file_digest, line FROM met)",
            (source,),
        )
        row = cursor.fetchone()
    assert row is not None, "an aggregate has a row"
    return int(row[0])


def _rejects(files: Sequence[SourceFile]) -> Iterator[pa.RecordBatch]:
    for file in files:
        if not file.rejects:
            continue
        for batch in pq.ParquetFile(file.parquet).iter_batches(BATCH_ROWS, columns=["__line", "__reason", "__raw"]):
            bad = batch.filter(pc.is_valid(batch["__reason"]))
            columns = {
                "file_digest": pa.repeat(file.digest, len(bad)),
                "uri": pa.repeat(file.uri, len(bad)),
                "reason": _without_nul(bad["__reason"]),
                "content": _without_nul(bad["__raw"]),
                "line": bad["__line"].cast(pa.int64()),
            }
            yield pa.record_batch([columns[name] for name in REJECTS_SCHEMA.names], schema=REJECTS_SCHEMA)


def _without_nul(texts: pa.Array) -> pa.Array:
    return pc.replace_substring(texts.cast(pa.string()), NUL, r"\x00")


def accept_rejects(settings: Settings, run_id: str, source: str, files: Sequence[SourceFile]) -> None:
    """Mark the rejects of these files as covered by the run's error budget, so that they never count again."""
    with transaction(settings) as connection:
        connection.execute(
            text(
                "UPDATE rejects SET accepted_run_id = :run_id"
                " WHERE source = :source AND file_digest = ANY(:digests) AND accepted_run_id IS NULL"
            ),
            {"run_id": run_id, "source": source, "digests": [file.digest for file in files]},
        )


def record_quarantine(settings: Settings, plan: Plan, snapshot_manifest: Path, quarantine: Path) -> None:
    """Record who is kept out of the run, with all the features; a retry of the stage replaces the run's rows.

    Parameters
    ----------
    settings
        The settings.
    plan
        The run.
    snapshot_manifest
        `SnapshotManifest` as JSON, beside the shards.
    quarantine
        Who; see `pipeline.handoffs.FeaturesValidated`.
    """
    manifest = SnapshotManifest.read(snapshot_manifest)
    query = _quarantined_subjects(manifest, snapshot_manifest.parent, quarantine)
    with connection(settings) as duck, loading(settings) as cursor:
        cursor.execute("DELETE FROM quarantine WHERE run_id = $1", (plan.run_id,))
        subjects = duck.sql(query, params={"run_id": plan.run_id, "version": JSONB_VERSION})
        cursor.adbc_ingest("quarantine", subjects.to_arrow_reader(BATCH_ROWS), mode="append")


def _quarantined_subjects(manifest: SnapshotManifest, folder: Path, quarantine: Path) -> str:
    files = parquet(*(folder / shard.file for shard in manifest.shards))
    keys = ["customer_id", "product_id"]
    cells = [f"{literal(name)}, {_number(name)}" for name in manifest.names("number")]
    cells += [f"{literal(name)}, {_text(name)}" for name in [*keys, *manifest.names("category", "info")]]
    return f"""
        SELECT
            $run_id AS run_id, customer_id, product_id, any_value(reasons) AS reasons,
            $version || encode('[' || string_agg(cells, ',' ORDER BY row) || ']') AS rows
        FROM (
            SELECT
                {", ".join(f"{_text(key)} AS {key}" for key in keys)},
                kept_out.__reasons AS reasons, kept_out.__row AS row, json_object({", ".join(cells)}) AS cells
            FROM {files} AS snapshot
            JOIN (  -- names that no feature has
                SELECT shard AS __shard, row AS __row, reasons AS __reasons FROM {parquet(quarantine)}
            ) AS kept_out ON kept_out.__shard = snapshot.file_index AND kept_out.__row = snapshot.file_row_number
        )
        GROUP BY customer_id, product_id
    """


def _number(name: str) -> str:
    """JSON has no word for NaN and infinity: they become text."""
    return f"CASE WHEN isfinite({quoted(name)}) THEN to_json({quoted(name)}) ELSE to_json({quoted(name)}::TEXT) END"


def _text(name: str) -> str:
    return f"replace({quoted(name)}, chr(0), '\\x00')"
