"""How good a version is on its test weeks: overall, by product and segment, and beside the champion.

The stage `evaluate` stores the result with the version as `evaluation.json`; the model card and the training report
show it. The gate measures the same rows again, against the champion of that day. Entry points: `score_rows`,
`score_with_champion` and `ScoredRows` for the predictions, `measure` for the `Evaluation`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from pipeline.errors import ModelError
from pipeline.handoff import Facts
from pipeline.models import registry
from pipeline.models.bundle import open_bundle
from pipeline.models.evaluation_metrics import CurvePoint, Estimate, calibration_curve, differences, estimates
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings
from pipeline.training.training_set import FEWEST_OF_A_CLASS, answers

Floats = NDArray[np.float64]
PRODUCT = "product_id"
EVALUATION_FILE = "evaluation.json"


class Group(Facts):
    """The test rows of one product, or of one value of a segment."""

    by: str
    """`product_id`, or the segment's column."""
    value: str | None
    rows: int
    satisfied: int
    overall: dict[str, Estimate] | None
    """The metrics of its rows; None if they hold too few of either answer."""
    against_champion: dict[str, Estimate] | None
    """This version's metrics minus the champion's; None if either is missing."""


class AgainstChampion(Facts):
    """The champion on the same rows."""

    version: str
    refusal: str | None
    """Why it could not score the rows."""
    knows_weeks: list[str]
    """The test weeks that the champion was trained or calibrated on; on them it looks better than it is."""
    overall: dict[str, Estimate] = Field(default_factory=dict)
    differences: dict[str, Estimate] = Field(default_factory=dict)
    """This version's metrics minus the champion's, on the same rows."""


class Evaluation(Facts):
    """A version on its test weeks; intervals are 95 %, by a bootstrap over subjects."""

    rows: int
    subjects: int
    weeks: list[str]
    base_rate: float
    """Fraction of the rows that are satisfied."""
    overall: dict[str, Estimate]
    against_base_rate: dict[str, Estimate]
    """The version's metrics minus those of predicting the base rate for every row."""
    curve: list[CurvePoint]
    groups: list[Group]
    """By product, then by each segment."""
    champion: AgainstChampion | None
    """None if there was no champion yet."""
    feature_auc: dict[str, float]
    """ROC AUC of each feature alone; a value near 1 suggests that the feature contains the answer."""


@dataclass(frozen=True)
class ScoredRows:
    """Rows of the test weeks, and what a version and the champion predict for them; one array element a row."""

    labels: NDArray[Any]
    subjects: NDArray[Any]
    """A code for each subject; a subject has a row in each of several weeks."""
    satisfaction: Floats
    champion: Floats | None
    """The champion's predictions; None if there are none."""
    seed: int
    """Makes the bootstrap repeatable."""

    @classmethod
    def of(cls, table: pa.Table, satisfaction: Floats, champion: Floats | None, seed: int) -> Self:
        """Return the rows of a part of a training set."""
        keys = pc.binary_join_element_wise(table["customer_id"], table[PRODUCT], "\0").combine_chunks()
        return cls(answers(table).to_numpy(), keys.dictionary_encode().indices.to_numpy(), satisfaction, champion, seed)

    @property
    def is_measurable(self) -> bool:
        """Whether there are enough rows of each answer."""
        satisfied = int(self.labels.sum())
        return min(satisfied, len(self.labels) - satisfied) >= FEWEST_OF_A_CLASS

    def overall(self) -> dict[str, Estimate]:
        """Return the metrics of the version."""
        return estimates(self.labels, self.satisfaction, self.subjects, seed=self.seed)

    def against(self, other: Floats) -> dict[str, Estimate]:
        """Return the version's metrics minus those of other predictions for the same rows."""
        return differences(self.labels, other, self.satisfaction, self.subjects, seed=self.seed)

    def by_value(self, column: pa.ChunkedArray) -> Iterator[tuple[str | None, Self]]:
        """Yield each value of a column of texts, in order and null last, with its rows."""
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        codes, values = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        places = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
        for code in sorted(range(len(values)), key=lambda code: (values[code] is None, str(values[code]))):
            at = places[code]
            champion = None if self.champion is None else self.champion[at]
            yield (
                values[code],
                type(self)(self.labels[at], self.subjects[at], self.satisfaction[at], champion, self.seed),
            )


def score_rows(scorer: Scorer, rows: pa.Table) -> Floats:
    """Return the satisfaction of each row, in order."""
    return np.concatenate([scorer.score(batch).column("satisfaction") for batch in rows.to_batches()])


def score_with_champion(
    settings: Settings, version: str | None, test: pa.Table, weeks: Sequence[str]
) -> tuple[AgainstChampion | None, Floats | None]:
    """Return the champion `version` as far as it is known, and its satisfaction of each test row of these weeks.

    A champion that cannot score the rows must not stop its successor, so its error is returned as `refusal`.
    """
    if version is None:
        return None, None
    try:
        folder, digest = registry.bundle_of(settings, version)
        training = open_bundle(folder, digest).training
        satisfaction = score_rows(Scorer.load(folder, digest, threshold=settings.model.threshold), test)
    except ModelError as error:
        return AgainstChampion(version=version, refusal=error.found, knows_weeks=[]), None
    known = sorted({*training.train_weeks, *training.validation_weeks} & set(weeks))
    return AgainstChampion(version=version, refusal=None, knows_weeks=known), satisfaction


def measure(
    rows: ScoredRows,
    table: pa.Table,
    segments: Sequence[str],
    *,
    weeks: list[str],
    champion: AgainstChampion | None,
    feature_auc: dict[str, float],
) -> Evaluation:
    """Return the evaluation of a version.

    `table` holds the same rows, with the columns they are grouped by: the product and `segments`.
    `weeks` are the weeks of the rows, and `champion` is as `score_with_champion` returns it.
    """
    if champion is not None and rows.champion is not None:
        overall = estimates(rows.labels, rows.champion, rows.subjects, seed=rows.seed)
        champion = champion.model_copy(update={"overall": overall, "differences": rows.against(rows.champion)})
    base_rate = float(rows.labels.mean())
    return Evaluation(
        rows=len(rows.labels),
        subjects=len(np.unique(rows.subjects)),
        weeks=weeks,
        base_rate=base_rate,
        overall=rows.overall(),
        against_base_rate=rows.against(np.full(len(rows.labels), base_rate)),
        curve=calibration_curve(rows.labels, rows.satisfaction, rows.subjects, seed=rows.seed),
        groups=[_group(by, value, part) for by in (PRODUCT, *segments) for value, part in rows.by_value(table[by])],
        champion=champion,
        feature_auc=feature_auc,
    )


def _group(by: str, value: str | None, rows: ScoredRows) -> Group:
    return Group(
        by=by,
        value=value,
        rows=len(rows.labels),
        satisfied=int(rows.labels.sum()),
        overall=rows.overall() if rows.is_measurable else None,
        against_champion=rows.against(rows.champion) if rows.is_measurable and rows.champion is not None else None,
    )
