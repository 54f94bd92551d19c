"""Evidence of what a run kept out: rejects and quarantined subjects, in full, in the warehouse.

Evidence is committed on its own, so that it is there if the stage that found it stops the run.
Entry points: `record_rejects`, `accept_rejects` and `record_quarantine`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import text

from pipeline.duck import connection, literal, parquet, quoted
from pipeline.manifests import KEYS, SnapshotManifest, SourceFile
from pipeline.settings import Settings
from pipeline.sources.stream import MARK, NUL, original
from pipeline.warehouse import transaction
from pipeline.warehouse.loading import JSONB_VERSION, loading

BATCH_ROWS = 16_384
REJECTS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("file_digest", "declaration", "uri", "reason", "content")),
        ("line", pa.int64()),
        ("content_bytes", pa.binary()),
    ]
)


def record_rejects(settings: Settings, run_id: str, source: str, files: Sequence[SourceFile]) -> int:
    """Record the rejects of a source's files, unless they are on record already.

    Returns the number of new rejects: those that no run has accepted within its error budget so far.
    """
    rejects = pa.RecordBatchReader.from_batches(REJECTS_SCHEMA, _rejects(files))
    with loading(settings) as cursor:
        cursor.adbc_ingest("met", rejects, mode="create", temporary=True)
        cursor.execute(
            "INSERT INTO rejects"
            " (source, file_digest, declaration, line, uri, reason, content, content_bytes, first_run_id)"
            " SELECT $1, file_digest, declaration, line, uri, reason, content, content_bytes, $2 FROM met"
            " ORDER BY file_digest, line ON CONFLICT DO NOTHING",
            (source, run_id),
        )
        cursor.execute(
            "SELECT count(*) FROM (SELECT file_digest, line FROM met EXCEPT"
            " SELECT file_digest, line FROM rejects WHERE source = $1 AND accepted_run_id IS NOT NULL) AS new",
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
            raw = bad["__raw"].cast(pa.string())
            columns = {
                "file_digest": pa.repeat(file.digest, len(bad)),
                "declaration": pa.repeat(file.declaration, len(bad)),
                "uri": pa.repeat(file.uri, len(bad)),
                "reason": bad["__reason"].cast(pa.string()),
                "content": pc.replace_substring(raw, MARK, ""),
                "line": bad["__line"].cast(pa.int64()),
                "content_bytes": _bytes(raw),
            }
            yield pa.record_batch(columns, schema=REJECTS_SCHEMA)


def _bytes(raw: pa.Array) -> pa.Array:
    """Return the original bytes of records that are not valid text, null for the others."""
    if not pc.any(pc.match_substring(raw, MARK)).as_py():
        return pa.nulls(len(raw), pa.binary())
    return pa.array([original(text) if MARK in text else None for text in raw.to_pylist()], pa.binary())


def accept_rejects(settings: Settings, run_id: str, source: str, files: Sequence[SourceFile]) -> None:
    """Mark the rejects of these files as accepted by the run, so that they never count again."""
    accept = text(
        "UPDATE rejects SET accepted_run_id = :run_id"
        " WHERE source = :source AND file_digest = ANY(:digests) AND accepted_run_id IS NULL"
    )
    with transaction(settings) as connection:
        connection.execute(accept, {"run_id": run_id, "source": source, "digests": [file.digest for file in files]})


def record_quarantine(settings: Settings, run_id: str, snapshot_manifest: Path, quarantine: Path) -> None:
    """Record the run's quarantined subjects with all their features. A retry replaces the run's rows.

    `snapshot_manifest` lies beside the shards. `quarantine` has the columns `pipeline.validation.quarantine.COLUMNS`.
    """
    manifest = SnapshotManifest.read(snapshot_manifest)
    query = _quarantined_subjects(manifest, snapshot_manifest.parent, quarantine)
    with connection(settings) as duck, loading(settings) as cursor:
        cursor.execute("DELETE FROM quarantine WHERE run_id = $1", (run_id,))
        subjects = duck.sql(query, params={"run_id": run_id, "version": JSONB_VERSION})
        cursor.adbc_ingest("quarantine", subjects.to_arrow_reader(BATCH_ROWS), mode="append")


def _quarantined_subjects(manifest: SnapshotManifest, folder: Path, quarantine: Path) -> str:
    files = parquet(*(folder / shard.file for shard in manifest.shards))
    cells = [f"{literal(name)}, {_number(name)}" for name in manifest.names("number")]
    cells += [f"{literal(name)}, {_text(name)}" for name in [*KEYS, *manifest.names("category", "info")]]
    return f"""
        SELECT
            $run_id AS run_id, customer_id, product_id,
            list_transform(any_value(reasons), lambda reason: {_text("reason")}) AS reasons,
            $version || encode('[' || string_agg(cells, ',' ORDER BY row) || ']') AS rows
        FROM (
            SELECT
                {", ".join(f"{_text(key)} AS {key}" for key in KEYS)},
                kept_out.__reasons AS reasons, kept_out.__row AS row, json_object({", ".join(cells)}) AS cells
            FROM {files} AS snapshot
            JOIN (  -- names that no feature has
                SELECT shard AS __shard, row AS __row, reasons AS __reasons FROM {parquet(quarantine)}
            ) AS kept_out ON kept_out.__shard = snapshot.file_index AND kept_out.__row = snapshot.file_row_number
        )
        GROUP BY customer_id, product_id
    """


def _number(name: str) -> str:
    """Return SQL for a number as JSON, or as text if JSON or jsonb cannot hold it (NaN, infinity, -0)."""
    number = quoted(name)
    is_plain = f"isfinite({number}) AND NOT ({number} = 0 AND signbit({number}))"
    return f"CASE WHEN {is_plain} THEN to_json({number}) ELSE to_json({number}::TEXT) END"


def _text(name: str) -> str:
    return f"replace({quoted(name)}, chr(0), {literal(NUL)})"
