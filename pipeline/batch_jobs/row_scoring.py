"""Score, the fourth stage of a file's scoring: predict one shard's rows with the planned model versions.

`pipeline.models.predictions` does it, as for a week. The entry point is `score_shard`.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.batch_jobs.file_rows import ROW
from pipeline.batch_jobs.job_handoffs import FileManifest, FilePlan, FileRows, FileValidated
from pipeline.files import sha256_of_file
from pipeline.models.predictions import Scored, attributed, kept_batches, served, write
from pipeline.models.scoring.scorer import SCORES_SCHEMA
from pipeline.parallel import in_order, threads
from pipeline.settings import Settings

SCHEMA = pa.schema([(ROW, pa.int64()), *SCORES_SCHEMA, ("role", pa.string()), ("model_version", pa.string())])


def score_shard(
    settings: Settings, plan: FilePlan, file_rows: FileRows, rows_validated: FileValidated, shard: int
) -> Scored:
    """Score one shard and return where its predictions are.

    Raises
    ------
    ModelError
        If a model version fails its checks.
    ConservationError
        If the shard has changed since it was written.
    """
    features = FileManifest.read(file_rows.manifest).checked_file(file_rows.manifest.parent, shard)
    predict = served(plan, features, settings.model.threshold)
    file = plan.folder / "predictions" / f"shard-{shard:04d}.parquet"
    kept = kept_batches(features, rows_validated.quarantine, shard, settings.resources.batch_rows)
    rows = write(file, SCHEMA, in_order(lambda b: _predictions(plan, b, *predict(b)), kept, threads(settings)))
    return Scored(shard=shard, file=file, rows=rows, digest=sha256_of_file(file))


def _predictions(
    plan: FilePlan, batch: pa.RecordBatch, scores: pa.RecordBatch, by_challenger: NDArray[np.bool_]
) -> pa.RecordBatch:
    columns = {ROW: batch.column(ROW), **attributed(plan, by_challenger)}
    return pa.record_batch(columns | dict(zip(scores.schema.names, scores.columns, strict=True)), schema=SCHEMA)
