"""Measure: a version's predictions for its test weeks against what turned out, as a whole and by product and segment.

`evaluate` calls it with what the version, and the champion, say of the test rows. The entry points are
`satisfaction_of`, `TestRows` and `measured`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.models.evaluation_metrics import CurvePoint, Estimate, calibration_curve, differences, estimates
from pipeline.models.scorer import Scorer
from pipeline.training.training_set import FEWEST_OF_A_CLASS, answers

Floats = NDArray[np.float64]
PRODUCT = "product_id"
EVALUATION_FILE = "evaluation.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Group(_Part):
    """The test rows of one product, or of one value of a declared segment."""

    by: str
    """`product_id`, or the segment's column."""
    value: str | None
    rows: int
    satisfied: int
    overall: dict[str, Estimate] | None
    """The metrics of its rows; None where they hold too few of an answer to measure anything."""
    against_champion: dict[str, Estimate] | None
    """Ours minus the champion's; None where either is."""


class AgainstChampion(_Part):
    """The champion on the same rows."""

    version: str
    refusal: str | None
    """Why it could not score them."""
    knows_weeks: list[str]
    """Of the test weeks those that the champion was trained or calibrated on, so that it looks better than it is."""
    overall: dict[str, Estimate]
    differences: dict[str, Estimate]
    """Ours minus the champion's, on the same rows."""


class Evaluation(_Part):
    """A version on its test weeks, with 95 % intervals by a bootstrap over subjects."""

    rows: int
    subjects: int
    weeks: list[str]
    base_rate: float
    """Share of the rows that are satisfied."""
    overall: dict[str, Estimate]
    against_base_rate: dict[str, Estimate]
    """Ours minus those of answering everybody with the base rate."""
    curve: list[CurvePoint]
    groups: list[Group]
    """By product, then by each declared segment."""
    champion: AgainstChampion | None
    """None when there was none yet."""
    feature_auc: dict[str, float]
    """ROC AUC of each feature alone: one that foretells the answer by itself has seen it."""


@dataclass(frozen=True)
class TestRows:
    """Rows to measure on, and what was predicted for them."""

    __test__ = False  # no test of pytest's

    labels: NDArray[Any]
    subjects: NDArray[Any]
    """A code for each row; a subject's rows of several weeks share it."""
    satisfaction: Floats
    champion: Floats | None
    """What the champion says of them."""
    seed: int

    @classmethod
    def of(cls, table: pa.Table, satisfaction: Floats, champion: Floats | None, seed: int) -> Self:
        """Return the rows of a part of a training set."""
        keys = pc.binary_join_element_wise(table["customer_id"], table[PRODUCT], "\0").combine_chunks()
        return cls(answers(table).to_numpy(), keys.dictionary_encode().indices.to_numpy(), satisfaction, champion, seed)

    def take(self, places: NDArray[np.intp]) -> "TestRows":
        """Return the rows at these places."""
        champion = None if self.champion is None else self.champion[places]
        return TestRows(self.labels[places], self.subjects[places], self.satisfaction[places], champion, self.seed)

    @property
    def has_both_answers(self) -> bool:
        """Whether there are enough of either to measure anything."""
        satisfied = int(self.labels.sum())
        return min(satisfied, len(self.labels) - satisfied) >= FEWEST_OF_A_CLASS

    def overall(self) -> dict[str, Estimate]:
        """Return the metrics."""
        return estimates(self.labels, self.satisfaction, self.subjects, seed=self.seed)

    def against(self, other: Floats) -> dict[str, Estimate]:
        """Return the metrics minus those of other predictions for the same rows."""
        return differences(self.labels, other, self.satisfaction, self.subjects, seed=self.seed)


def satisfaction_of(scorer: Scorer, rows: pa.Table) -> Floats:
    """Return the predictions for each row, in order."""
    return np.concatenate([scorer.score(batch).column("satisfaction") for batch in rows.to_batches()])


def measured(rows: TestRows, table: pa.Table, segments: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of an `Evaluation` that the rows alone decide.

    Parameters
    ----------
    rows
        What is measured.
    table
        The same rows with the columns they are grouped by.
    segments
        The columns beside the product.
    """
    base_rate = np.full(len(rows.labels), rows.labels.mean())
    return {
        "rows": len(rows.labels),
        "subjects": len(np.unique(rows.subjects)),
        "base_rate": float(rows.labels.mean()),
        "overall": rows.overall(),
        "against_base_rate": rows.against(base_rate),
        "curve": calibration_curve(rows.labels, rows.satisfaction, rows.subjects, seed=rows.seed),
        "groups": [group for by in (PRODUCT, *segments) for group in _groups(rows, table[by], by)],
    }


def _groups(rows: TestRows, column: pa.ChunkedArray, by: str) -> Iterator[Group]:
    """Yield what holds for the rows of each value, in the values' order."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    codes, values = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    places = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    for code in sorted(range(len(values)), key=lambda code: (values[code] is None, str(values[code]))):
        part = rows.take(places[code])
        enough, champion = part.has_both_answers, part.champion
        yield Group(
            by=by,
            value=values[code],
            rows=len(part.labels),
            satisfied=int(part.labels.sum()),
            overall=part.overall() if enough else None,
            against_champion=part.against(champion) if enough and champion is not None else None,
        )
