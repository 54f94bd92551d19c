"""Score, the fifth stage: one shard's features through the pinned model version, into one file of predictions.

It streams record batches from Parquet to Parquet, so memory does not grow with the shard, and leaves out the rows in
quarantine. The same shard and version give the same bytes but for the run's id. The entry point is `score`.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.files import sha256_of_file, written_atomically
from pipeline.handoffs import FeaturesValidated, Plan, Scored, Snapshot
from pipeline.manifests import SnapshotManifest
from pipeline.models.scorer import Scorer
from pipeline.settings import Settings
from pipeline.weeks import Week

PREDICTIONS_SCHEMA = pa.schema(
    [
        ("week", pa.date32()),
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("satisfaction", pa.float64()),
        ("likely_satisfied", pa.bool_()),
        ("role", pa.string()),
        ("model_version", pa.string()),
        ("run_id", pa.string()),
        ("trained_after_cutoff", pa.bool_()),
        ("info", pa.string()),
    ]
)
INFO_PREFIX = "info_"


def score(
    settings: Settings, plan: Plan, snapshot: Snapshot, features_validated: FeaturesValidated, shard: int
) -> Scored:
    """Score one shard and return where its predictions are.

    Raises
    ------
    ModelError
        If the model version fails its checks or wants other features.
    ConservationError
        If the shard is not the file that the features stage wrote.
    """
    started_at = datetime.now(UTC)
    scorer = Scorer.load(plan.bundle, plan.bundle_digest, threshold=settings.model.threshold)
    features = SnapshotManifest.read(snapshot.manifest).checked_file(snapshot.manifest.parent, shard)
    quarantined = _quarantined_rows(features_validated.quarantine, shard)
    file = plan.folder / "predictions" / f"shard-{shard:04d}.parquet"
    rows = 0
    with written_atomically(file) as temporary, pq.ParquetWriter(temporary, PREDICTIONS_SCHEMA) as writer:
        for batch in _kept(features, quarantined, settings.resources.batch_rows):
            writer.write_batch(_predictions(plan, scorer, batch))
            rows += batch.num_rows
    return Scored(
        shard=shard,
        file=file,
        rows=rows,
        digest=sha256_of_file(file),
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )


def _quarantined_rows(quarantine: Path, shard: int) -> np.ndarray:
    rows = pq.read_table(quarantine, columns=["row"], filters=[("shard", "=", shard)])
    return np.sort(rows.column("row").to_numpy())


def _kept(features: Path, quarantined: np.ndarray, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the shard's rows that are not in quarantine, in order."""
    position = 0
    for batch in _batches(features, batch_rows):
        first, last = np.searchsorted(quarantined, [position, position + batch.num_rows])
        keep = np.ones(batch.num_rows, dtype=bool)
        keep[quarantined[first:last] - position] = False
        position += batch.num_rows
        if keep.any():
            yield batch if keep.all() else batch.filter(pa.array(keep))


def _batches(features: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the shard by row groups: asked for all of them at once, pyarrow keeps what it has read."""
    with pq.ParquetFile(features) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=batch_rows, row_groups=[group])


def _predictions(plan: Plan, scorer: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
    scores = scorer.score(batch)
    same_in_every_row = {
        "week": pa.scalar(Week.parse(plan.week).monday, pa.date32()),
        "role": pa.scalar("champion"),
        "model_version": pa.scalar(plan.model_version),
        "run_id": pa.scalar(plan.run_id),
        "trained_after_cutoff": pa.scalar(plan.trained_after_cutoff),
    }
    columns = {name: pa.repeat(value, batch.num_rows) for name, value in same_in_every_row.items()}
    columns |= {name: batch.column(name).cast(pa.string()) for name in ("customer_id", "product_id")}
    columns |= {name: scores.column(name) for name in scores.schema.names}
    columns["info"] = _info(batch)
    return pa.record_batch([columns[name] for name in PREDICTIONS_SCHEMA.names], schema=PREDICTIONS_SCHEMA)


def _info(batch: pa.RecordBatch) -> pa.Array:
    """Return the `info_*` columns of each row as a JSON object, or nulls when there is none."""
    names = [name for name in batch.schema.names if name.startswith(INFO_PREFIX)]
    if not names:
        return pa.nulls(batch.num_rows, pa.string())
    parts: list[pa.Array | str] = []
    for name in names:
        key = json.dumps(name.removeprefix(INFO_PREFIX), ensure_ascii=False)
        parts += [f"{',' if parts else '{'}{key}:", _json_text(batch.column(name).cast(pa.string()))]
    return pc.binary_join_element_wise(*parts, "}", "")


def _json_text(column: pa.Array) -> pa.Array:
    r"""Return each text as a JSON string, null as `null`; U+0000, which PostgreSQL cannot hold, as U+FFFD."""
    for character, escaped in _ESCAPES.items():
        if pc.any(pc.match_substring(column, character)).as_py():
            column = pc.replace_substring(column, character, escaped)
    return pc.fill_null(pc.binary_join_element_wise('"', column, '"', ""), "null")


_CONTROLS = {chr(code): json.dumps(chr(code))[1:-1] for code in range(1, 32)}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\0": "\N{REPLACEMENT CHARACTER}", **_CONTROLS}
