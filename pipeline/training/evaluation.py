"""What an evaluation found, as it is stored with the version: the content of `evaluation.json`.

`evaluate` makes it; the gate, the model card and the training report read it. The class is `Evaluation`.
"""

from pydantic import BaseModel, ConfigDict

from pipeline.models.metrics import CurvePoint, Estimate

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
    """A version on its test weeks, with 95 % intervals by a bootstrap over subjects (`pipeline.models.metrics`)."""

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
