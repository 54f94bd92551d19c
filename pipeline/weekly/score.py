"""Score, the fifth stage: one shard's features through the pinned model version, into one file of predictions.

It streams record batches from Parquet to Parquet, so memory does not grow with the shard, and leaves out the rows in
quarantine. The same shard, versions and routing give the same bytes but for the run's id.

In an A/B test the challenger scores the rows of its customers, into the same file. In the shadow it scores everybody,
into a second file and after the first is whole: that it cannot is handed on, and stops nobody's prediction. The entry
point is `score`; the scoring of a file of rows (`pipeline.batch_jobs`) uses `kept_batches`, `served` and `write`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.files import sha256_of_file, written_atomically
from pipeline.handoffs import FeaturesValidated, Models, Plan, Scored, Shadow, Snapshot
from pipeline.manifests import SnapshotManifest
from pipeline.models.routing import CHALLENGER, CHAMPION, blaming_challenger, is_challengers, routed_scores
from pipeline.models.scorer import Scorer, inputs
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
SHADOW_SCHEMA = pa.schema([field for field in PREDICTIONS_SCHEMA if field.name not in {"role", "info"}])
INFO_PREFIX = "info_"

Predict = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, NDArray[np.bool_]]]
"""From features to each row's scores, and whether they are the challenger's."""


def score(
    settings: Settings, plan: Plan, snapshot: Snapshot, features_validated: FeaturesValidated, shard: int
) -> Scored:
    """Score one shard and return where its predictions are.

    Raises
    ------
    ModelError
        If a model version that serves fails its checks or wants other features.
    ConservationError
        If the shard is not the file that the features stage wrote.
    """
    started_at = datetime.now(UTC)
    features = SnapshotManifest.read(snapshot.manifest).checked_file(snapshot.manifest.parent, shard)
    kept = partial(kept_batches, settings, features, features_validated.quarantine, shard)
    file = plan.folder / "predictions" / f"shard-{shard:04d}.parquet"
    predict = served(settings, plan, features)
    rows = write(file, PREDICTIONS_SCHEMA, (_rows(plan, PREDICTIONS_SCHEMA, b, *predict(b)) for b in kept()))
    shadow = failure = None
    if plan.routing.mode == "shadow":
        try:
            shadow = _scored_in_shadow(settings, plan, features, kept(), file.name)
        except ModelError as error:
            failure = error.found
    return Scored(
        shard=shard,
        file=file,
        rows=rows,
        digest=sha256_of_file(file),
        shadow=shadow,
        shadow_failure=failure,
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )


def kept_batches(settings: Settings, features: Path, quarantine: Path, shard: int) -> Iterator[pa.RecordBatch]:
    """Yield the shard's rows that are not in quarantine, in order.

    Parameters
    ----------
    settings
        Says how many rows at once.
    features, shard
        The shard's file and number.
    quarantine
        Who is kept out; see `pipeline.handoffs.FeaturesValidated`.
    """
    quarantined = _quarantined_rows(quarantine, shard)
    position = 0
    for batch in _batches(features, settings.resources.batch_rows):
        first, last = np.searchsorted(quarantined, [position, position + batch.num_rows])
        keep = np.ones(batch.num_rows, dtype=bool)
        keep[quarantined[first:last] - position] = False
        position += batch.num_rows
        if keep.any():
            yield batch if keep.all() else batch.filter(pa.array(keep))


def _quarantined_rows(quarantine: Path, shard: int) -> np.ndarray:
    rows = pq.read_table(quarantine, columns=["row"], filters=[("shard", "=", shard)])
    return np.sort(rows.column("row").to_numpy())


def _batches(features: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the shard by row groups: asked for all of them at once, pyarrow keeps what it has read."""
    with pq.ParquetFile(features) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=batch_rows, row_groups=[group])


def write(file: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write the batches to a Parquet file, atomically, one at a time; return how many rows they hold."""
    rows = 0
    with written_atomically(file) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def served(settings: Settings, models: Models, features: Path) -> Predict:
    """Return what makes the scores that people are served: the champion's, or in an A/B test either's.

    Parameters
    ----------
    settings
        Gives the threshold.
    models
        The pinned versions.
    features
        A file of what will be scored, for its columns.

    Raises
    ------
    ModelError
        If a model version fails its checks, or the challenger wants other features.
    """
    champion = Scorer.load(models.bundle, models.bundle_digest, threshold=settings.model.threshold)
    if models.routing.mode != "ab":
        return lambda batch: (champion.score(batch), np.zeros(len(batch), bool))
    challenger = _challenger(settings, models, features)

    def predict(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[np.bool_]]:
        challengers = is_challengers(batch.column("customer_id"), models.routing.fraction, models.routing.salt)
        return routed_scores(batch, challengers, champion, challenger), challengers

    return predict


def _scored_in_shadow(
    settings: Settings, plan: Plan, features: Path, batches: Iterable[pa.RecordBatch], name: str
) -> Shadow:
    """Have the challenger score everybody."""
    challenger = _challenger(settings, plan, features)
    everybody = (_rows(plan, SHADOW_SCHEMA, b, challenger.score(b), np.ones(len(b), bool)) for b in batches)
    file = plan.folder / "shadow_predictions" / name
    write(file, SHADOW_SCHEMA, everybody)
    return Shadow(file=file, digest=sha256_of_file(file))


def _challenger(settings: Settings, models: Models, features: Path) -> Scorer:
    """Return the challenger's scorer; that it wants other features than there are is noticed before it scores."""
    challenger = models.routing.challenger
    assert challenger is not None, "the plan pins it where routing is on"
    with blaming_challenger(challenger.model_version):
        scorer = Scorer.load(challenger.bundle, challenger.bundle_digest, threshold=settings.model.threshold)
        inputs(pq.read_schema(features).empty_table(), scorer.features)
    return scorer


def _rows(
    plan: Plan, schema: pa.Schema, batch: pa.RecordBatch, scores: pa.RecordBatch, by_challenger: NDArray[np.bool_]
) -> pa.RecordBatch:
    mask, challenger = pa.array(by_challenger), plan.routing.challenger or plan
    columns = {
        "week": pa.repeat(pa.scalar(Week.parse(plan.week).monday, pa.date32()), batch.num_rows),
        "role": pc.if_else(mask, CHALLENGER, CHAMPION),
        "model_version": pc.if_else(mask, challenger.model_version, plan.model_version),
        "run_id": pa.repeat(plan.run_id, batch.num_rows),
        "trained_after_cutoff": pc.if_else(mask, challenger.trained_after_cutoff, plan.trained_after_cutoff),
    }
    columns |= {name: batch.column(name).cast(pa.string()) for name in ("customer_id", "product_id")}
    columns |= {name: scores.column(name) for name in scores.schema.names}
    if "info" in schema.names:
        columns["info"] = _info(batch)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


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
