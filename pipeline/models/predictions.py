"""A shard's predictions: scored by the pinned versions, attributed to them, streamed to a file, and checked.

Used by the weekly run (`pipeline.weekly.score` and `check`) and by the scoring of a file of rows
(`pipeline.batch_jobs`). Entry points: `kept_batches`, `served`, `attributed` and `write` for scoring, `whole_parts` and
`check_roles` for the check.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import ConservationError
from pipeline.files import sha256_of_file, written_atomically
from pipeline.handoff import Handoff
from pipeline.manifests import ShardsManifest
from pipeline.models.pinned import Models
from pipeline.models.routing import CHALLENGER, CHAMPION, blaming_challenger, is_challengers, routed_scores
from pipeline.models.scoring.columns import inputs
from pipeline.models.scoring.scorer import Scorer

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

Predict = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, NDArray[np.bool_]]]
"""From features to each row's scores, and whether the challenger made them."""
BATCH_ROWS = 65_536
REPEATING = ["week", "customer_id", "product_id", "role", "model_version", "run_id"]  # written with dictionaries
MODEL = ["role", "model_version", "trained_after_cutoff"]


class Shadow(Handoff):
    """One shard's shadow scores, by the challenger. Readers never see them as predictions."""

    file: Path
    """Parquet, columns as `SHADOW_SCHEMA`."""
    digest: str
    """sha256 of the file."""


class Scored(Handoff):
    """One shard's predictions."""

    shard: int
    file: Path
    """Parquet, columns as `PREDICTIONS_SCHEMA`."""
    rows: int
    digest: str
    """sha256 of the file."""
    shadow: Shadow | None = None
    shadow_failure: str | None = None
    """Why the challenger could not score in the shadow."""


def kept_batches(features: Path, quarantine: Path, shard: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard's file that are not in quarantine, in order."""
    rows = pq.read_table(quarantine, columns=["row"], filters=[("shard", "=", shard)])
    quarantined = np.sort(rows.column("row").to_numpy())
    position = 0
    for batch in _batches(features, batch_rows):
        first, last = np.searchsorted(quarantined, [position, position + batch.num_rows])
        keep = np.ones(batch.num_rows, dtype=bool)
        keep[quarantined[first:last] - position] = False
        position += batch.num_rows
        if keep.any():
            yield batch if keep.all() else batch.filter(pa.array(keep))


def _batches(features: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the file, with texts as dictionaries, by row groups: in one call, pyarrow would keep them in memory."""
    texts = [field.name for field in pq.read_schema(features) if pa.types.is_string(field.type)]
    with pq.ParquetFile(features, read_dictionary=texts) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=batch_rows, row_groups=[group])


def write(file: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write the batches to a Parquet file, atomically, one at a time; return the number of rows."""
    rows = 0
    with written_atomically(file) as temporary, pq.ParquetWriter(temporary, schema, use_dictionary=REPEATING) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def served(models: Models, features: Path, threshold: float) -> Predict:
    """Return the function that scores the served predictions, by one model or in an A/B test by two.

    `features` is a file of the rows to score, for its columns. From `threshold` on, a row is likely satisfied.

    Raises
    ------
    ModelError
        If a model version fails its checks, or the challenger wants other features.
    """
    champion = Scorer.load(models.bundle, models.bundle_digest, threshold=threshold)
    if models.routing.mode != "ab":
        return lambda batch: (champion.score(batch), np.zeros(len(batch), bool))
    challenger = loaded_challenger(models, features, threshold)

    def predict(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[np.bool_]]:
        challengers = is_challengers(batch.column("customer_id"), models.routing.fraction, models.routing.salt)
        return routed_scores(batch, challengers, champion, challenger), challengers

    return predict


def loaded_challenger(models: Models, features: Path, threshold: float) -> Scorer:
    """Return the challenger's scorer, after a check that the file has the features it wants."""
    challenger = models.routing.challenger
    assert challenger is not None, "the plan pins it where routing is on"
    with blaming_challenger(challenger.model_version):
        scorer = Scorer.load(challenger.bundle, challenger.bundle_digest, threshold=threshold)
        inputs(pq.read_schema(features).empty_table(), scorer.features)
    return scorer


def whole_parts(manifest: ShardsManifest, scored: Sequence[Scored]) -> list[Scored]:
    """Return the parts in the order of their shards; refuse a missing, repeated or changed one."""
    parts = sorted(scored, key=lambda part: part.shard)
    if [part.shard for part in parts] != list(range(len(manifest.shards))):
        raise ConservationError(
            f"The scored shards are {', '.join(str(part.shard) for part in parts) or 'none'}.",
            f"each of the {len(manifest.shards)} shards, from 0, exactly once.",
            "clear the scoring tasks and let them run again.",
        )
    for part in parts:
        check_file(part.shard, part)
    return parts


def check_file(shard: int, part: Scored | Shadow) -> None:
    """Refuse the file of a shard that is not the one handed over."""
    try:
        digest = sha256_of_file(part.file)
    except OSError as error:
        digest = f"nothing: {error.strerror}"
    if digest != part.digest:
        raise ConservationError(
            f"The predictions of shard {shard}, {part.file}, have the digest {digest}.",
            f"{part.digest}, as handed over when they were scored.",
            "clear the scoring task of this shard and let it run again.",
        )


def check_roles(models: Models, run_id: str, files: Sequence[Path]) -> None:
    """Check each row's role, model version and flag against the plan and the A/B split."""
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=["customer_id", *MODEL]):
            customers, routing = batch.column("customer_id"), models.routing
            by_challenger = np.zeros(len(batch), bool)
            if routing.mode == "ab":
                by_challenger = is_challengers(customers, routing.fraction, routing.salt)
            expected = pa.record_batch(attributed(models, by_challenger))
            differs = [
                pc.fill_null(pc.not_equal(batch.column(name), expected[name]), fill_value=True) for name in MODEL
            ]
            wrong = reduce(pc.or_, differs)
            if count := pc.sum(wrong).as_py():
                row, other = batch.filter(wrong).slice(0, 1).to_pylist()[0], expected.filter(wrong).to_pylist()[0]
                raise ConservationError(
                    f"{count} predictions of the run {run_id} are by the wrong model, for example that of "
                    f"{row['customer_id']!r} by {_described(row)}.",
                    f"each by the model that its customer is routed to, here {_described(other)}.",
                    "clear the scoring tasks and let them run again; if it happens again, scoring has a bug.",
                )


def attributed(models: Models, by_challenger: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Return the columns of predictions that say which model made each row."""
    challenger = models.routing.challenger or models
    ours = (CHAMPION, models.model_version, models.trained_after_cutoff)
    theirs = (CHALLENGER, challenger.model_version, challenger.trained_after_cutoff)
    mask = pa.array(by_challenger)
    return {name: pc.if_else(mask, *values) for name, *values in zip(MODEL, theirs, ours, strict=True)}


def _described(model: dict[str, Any]) -> str:
    later = ", trained after the cutoff" if model["trained_after_cutoff"] else ""
    return f"the {model['role']}, version {model['model_version']}{later}"
