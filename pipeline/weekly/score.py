"""Score, the sixth stage: one shard of features to one file of predictions.

Rows in quarantine are left out. Record batches stream from Parquet to Parquet, so memory does not
grow with the shard. Threads score several of them at a time, and they are written in order. Apart
from the run's id, the same shard, versions and routing give the same bytes.

In an A/B test the challenger scores the rows of its customers, into the same file. In shadow mode
it scores every row into a second file, once the first is complete. If it fails there, the failure
is recorded and the champion's predictions are published as usual. The entry point is `score`.
"""

import json
from pathlib import Path

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
    Predict,
    Scored,
    Shadow,
    attributed,
    kept_batches,
    loaded_challenger,
    served,
    write,
)
from pipeline.parallel import in_order, threads
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
    threshold, batch_rows = settings.model.threshold, settings.resources.batch_rows
    file = plan.folder / "predictions" / f"shard-{shard:04d}.parquet"

    def written(file: Path, schema: pa.Schema, predict: Predict) -> int:
        kept = kept_batches(features, features_validated.quarantine, shard, batch_rows)
        return write(file, schema, in_order(lambda b: _rows(plan, schema, b, *predict(b)), kept, threads(settings)))

    rows = written(file, PREDICTIONS_SCHEMA, served(plan, features, threshold))
    shadow = failure = None
    if plan.routing.mode == "shadow":
        try:
            challenger = loaded_challenger(plan, features, threshold)
            beside = plan.folder / "shadow_predictions" / file.name
            written(beside, SHADOW_SCHEMA, lambda batch: (challenger.score(batch), np.ones(len(batch), bool)))
            shadow = Shadow(file=beside, digest=sha256_of_file(beside))
        except ModelError as error:
            failure = error.found
    return Scored(shard=shard, file=file, rows=rows, digest=sha256_of_file(file), shadow=shadow, shadow_failure=failure)


def _rows(
    plan: Plan, schema: pa.Schema, batch: pa.RecordBatch, scores: pa.RecordBatch, by_challenger: NDArray[np.bool_]
) -> pa.RecordBatch:
    columns = {
        "week": pa.repeat(pa.scalar(Week.parse(plan.week).monday, pa.date32()), batch.num_rows),
        "run_id": pa.repeat(plan.run_id, batch.num_rows),
        **attributed(plan, by_challenger),
        **{name: batch.column(name) for name in KEYS},
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
    members = [_json_member(name.removeprefix(INFO_PREFIX), batch.column(name)) for name in names]
    return pc.binary_join_element_wise("{", pc.binary_join_element_wise(*members, ","), "}", "")


def _json_member(name: str, column: pa.Array) -> pa.Array:
    r"""Return `"name":` and the text as JSON, made once per distinct text; U+0000, which jsonb lacks, as U+FFFD."""
    key = json.dumps(name, ensure_ascii=False) + ":"
    texts = column.dictionary
    data = bytes(texts.buffers()[2] or b"")
    if len(data.translate(None, _SPECIAL)) < len(data):
        for character, escaped in _ESCAPES.items():
            texts = pc.replace_substring(texts, character, escaped)
    members = pc.binary_join_element_wise(key + '"', texts, '"', "")
    if column.null_count:
        members = pa.concat_arrays([members, pa.array([key + "null"])])
    return members.take(column.indices.fill_null(len(texts)))


_CONTROLS = {chr(code): json.dumps(chr(code))[1:-1] for code in range(1, 32)}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\0": "\N{REPLACEMENT CHARACTER}", **_CONTROLS}
_SPECIAL = "".join(_ESCAPES).encode()
