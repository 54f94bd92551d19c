"""Attribute predictions to the models that made them, and check that each is by its customer's model.

Entry points: `attributed`, for scoring, and `check_roles`, for `pipeline.weekly.check`.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import ConservationError
from pipeline.models.pinned import Models
from pipeline.models.routing import CHALLENGER, CHAMPION, is_challengers

BATCH_ROWS = 65_536
MODEL = ["role", "model_version", "trained_after_cutoff"]


def check_roles(models: Models, run_id: str, files: Sequence[Path]) -> None:
    """Check each row's role, model version and flag against the plan and the A/B split.

    Raises
    ------
    ConservationError
        If a row was scored by another model than its customer's.
    """
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
