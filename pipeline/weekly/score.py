"""Score, the sixth stage: one shard of features to one file of predictions.

Rows in quarantine are left out. Record batches stream from Parquet to Parquet, so memory does not
grow with the shard. Apart from the run's id, the same shard, versions and routing give the same
bytes.

In an A/B test the challenger scores the rows of its customers, into the same file. In shadow mode
it scores every row into a second file, once the first is complete. If it fails there, the failure
is recorded and the champion's predictions are published as usual. The entry point is `score`.
"""

import json
from collections.abc import Iterable
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.files import sha256_of_file
from pipeline.manifests import KEYS, SnapshotManifest
from pipeline.models.predictions import (
    PREDICTIONS_SCHEMA,
    SHADOW_SCHEMA,
    Scored,
    Shadow,
    attributed,
    kept_batches,
    loaded_challenger,
    served,
    write,
)
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings
from pipeline.weekly.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.weeks import Week

INFO_PREFIX = "info_"


def score(
    settings: Settings, plan: Plan, snapshot: Snapshot, features_validated: FeaturesValidated, shard: int
) -> Scored:
    """Score one shard.

    Raises
    ------
    ModelError
        If a model version that serves customers fails its checks or wants other features.
    ConservationError
        If the shard is not the file that the features stage wrote.
    """
    features = SnapshotManifest.read(snapshot.manifest).checked_file(snapshot.manifest.parent, shard)
    kept = partial(kept_batches, features, features_validated.quarantine, shard, settings.resources.batch_rows)
    threshold = settings.model.threshold
    file = plan.folder / "predictions" / f"shard-{shard:04d}.parquet"
    predict = served(plan, features, threshold)
    rows = write(file, PREDICTIONS_SCHEMA, (_rows(plan, PREDICTIONS_SCHEMA, b, *predict(b)) for b in kept()))
    shadow = failure = None
    if plan.routing.mode == "shadow":
        try:
            shadow = _score_in_shadow(plan, loaded_challenger(plan, features, threshold), kept(), file.name)
        except ModelError as error:
            failure = error.found
    digest = sha256_of_file(file)
    return Scored(shard=shard, file=file, rows=rows, digest=digest, shadow=shadow, shadow_failure=failure)


def _score_in_shadow(plan: Plan, challenger: Scorer, batches: Iterable[pa.RecordBatch], name: str) -> Shadow:
    rows = (_rows(plan, SHADOW_SCHEMA, b, challenger.score(b), np.ones(len(b), bool)) for b in batches)
    file = plan.folder / "shadow_predictions" / name
    write(file, SHADOW_SCHEMA, rows)
    return Shadow(file=file, digest=sha256_of_file(file))


def _rows(
    plan: Plan, schema: pa.Schema, batch: pa.RecordBatch, scores: pa.RecordBatch, by_challenger: NDArray[np.bool_]
) -> pa.RecordBatch:
    columns = {
        "week": pa.repeat(pa.scalar(Week.parse(plan.week).monday, pa.date32()), batch.num_rows),
        "run_id": pa.repeat(plan.run_id, batch.num_rows),
        **attributed(plan, by_challenger),
        **{name: batch.column(name).cast(pa.string()) for name in KEYS},
        **{name: scores.column(name) for name in scores.schema.names},
    }
    if "info" in schema.names:
        columns["info"] = _info(batch)
    return pa.record_batch(columns, schema=schema)


def _info(batch: pa.RecordBatch) -> pa.Array:
    """Return the `info_*` columns of each row as a JSON object, or nulls if there are no such columns."""
    names = [name for name in batch.schema.names if name.startswith(INFO_PREFIX)]
    if not names:
        return pa.nulls(batch.num_rows, pa.string())
    parts: list[pa.Array | str] = []
    for name in names:
        key = json.dumps(name.removeprefix(INFO_PREFIX), ensure_ascii=False)
        parts += [f"{',' if parts else '{'}{key}:", _json_text(batch.column(name).cast(pa.string()))]
    return pc.binary_join_element_wise(*parts, "}", "")


def _json_text(column: pa.Array) -> pa.Array:
    r"""Return each text as a JSON string, null as `null`, and U+0000 (not in PostgreSQL) as U+FFFD."""
    for character, escaped in _ESCAPES.items():
        if pc.any(pc.match_substring(column, character)).as_py():
            column = pc.replace_substring(column, character, escaped)
    return pc.fill_null(pc.binary_join_element_wise('"', column, '"', ""), "null")


_CONTROLS = {chr(code): json.dumps(chr(code))[1:-1] for code in range(1, 32)}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\0": "\N{REPLACEMENT CHARACTER}", **_CONTROLS}
