"""Check that every row was scored by the model that its customer is routed to.

Used by `pipeline.weekly.check`. The entry point is `check_roles`.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConservationError
from pipeline.models.pinned import Models, Routing
from pipeline.models.routing import CHALLENGER, CHAMPION, is_challengers

BATCH_ROWS = 65_536
COLUMNS = ["customer_id", "role", "model_version", "trained_after_cutoff"]


def check_roles(models: Models, run_id: str, files: Sequence[Path]) -> None:
    """Check each row's role, version and flag against the plan, and in an A/B test the role against the split.

    Raises
    ------
    ConservationError
        If a row was scored by another model than its customer's.
    """
    challenger = models.routing.challenger if models.routing.mode == "ab" else None
    allowed = {(CHAMPION, models.model_version, models.trained_after_cutoff)}
    if challenger:
        allowed.add((CHALLENGER, challenger.model_version, challenger.trained_after_cutoff))
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=COLUMNS):
            _check_makers(batch, allowed, run_id)
            if challenger:
                _check_split(batch, models.routing, run_id)


def _check_makers(batch: pa.RecordBatch, allowed: set[tuple[str, str, bool]], run_id: str) -> None:
    found = pa.Table.from_batches([batch]).group_by(COLUMNS[1:]).aggregate([])
    strange = {tuple(row.values()) for row in found.to_pylist()} - allowed
    if strange:
        raise _wrong(f"There are predictions by {_described(strange)}", f"only {_described(allowed)}", run_id)


def _check_split(batch: pa.RecordBatch, routing: Routing, run_id: str) -> None:
    expected = pa.array(is_challengers(batch.column("customer_id"), routing.fraction, routing.salt))
    wrong = batch.filter(pc.not_equal(pc.equal(batch.column("role"), CHALLENGER), expected))
    if wrong.num_rows:
        customer, role = (wrong.column(name)[0].as_py() for name in ("customer_id", "role"))
        raise _wrong(
            f"{wrong.num_rows} predictions are by the wrong model, for example that of {customer!r} by the {role}",
            f"the challenger for a fraction of {routing.fraction:g} of the customers, as the split draws them",
            run_id,
        )


def _described(makers: set[tuple[str, str, bool]]) -> str:
    return " and ".join(
        f"the {role}, version {version}{', trained after the cutoff' if after else ''}"
        for role, version, after in sorted(makers, key=str)
    )


def _wrong(found: str, expected: str, run_id: str) -> ConservationError:
    return ConservationError(
        f"{found}, in the run {run_id}.",
        f"{expected}.",
        "clear the scoring tasks and let them run again; if it happens again, scoring has a bug.",
    )
