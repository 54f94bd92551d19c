"""The tables of `pipeline.toml` about the model's life: training, tuning, promotion, routing."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pipeline.settings.base import Fraction, Identifier, Table


class Model(Table):
    """The model: its name in the registry, the decision threshold, and training."""

    name: Identifier = "satisfaction"
    threshold: Fraction = 0.5
    """`likely_satisfied` is satisfaction at or above this."""
    training_weeks: PositiveInt = 12
    """How many past weeks a training set spans, the matured ones before the training cutoff."""
    maturity_weeks: NonNegativeInt = 4
    """A week counts for training when its labels had so many weeks to arrive."""
    validation_weeks: PositiveInt = 2
    test_weeks: PositiveInt = 2
    seed: NonNegativeInt = 7
    segments: tuple[str, ...] = ()
    """Columns of features.sql (categories or `info_*`) by whose values a version is evaluated too, beside products."""


class Span(Table):
    """Numbers to draw from; `log` draws the orders of magnitude evenly."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 with log")
        return self


Space = dict[str, Span | Annotated[list[float | int | str | bool], Field(min_length=1)]]
"""For each parameter a span to draw from, or the values to choose among."""


class Tuning(Table):
    """The search for hyperparameters: scikit-learn's successive halving, by weeks."""

    minutes: PositiveFloat = 5
    """Budget: what is still to be tried when it is used up is left out."""
    candidates: PositiveInt = 24
    folds: PositiveInt = 3
    """Each validates on the weeks after those it trains on."""
    space: dict[Literal["logistic_regression", "hist_gradient_boosting"], Space] = Field(default_factory=dict)
    """By family; a family that is not named is not tried, except that none named means both with their defaults."""


class Promotion(Table):
    """The gate before a version comes into force."""

    approval: bool = False
    """Whether a person must approve in Airflow's UI."""
    margin: Fraction = 0.01
    """A version may be worse than the champion in ROC AUC by at most this, at the bad end of the interval."""
    segment_margin: Fraction = 0.05
    """The same for each product and segment, beyond what chance explains."""
    calibration_error: Fraction = 0.05
    """Highest expected calibration error, where the test rows are enough to tell it from chance."""
    latency_milliseconds: PositiveFloat = 5
    """Longest median time to score one row."""
    suspicious_auc: Fraction = 0.98
    """A version, or a feature alone, that is better than this has seen the answer."""


class Routing(Table):
    """How the challenger (the version with that alias) takes part in the weekly run."""

    mode: Literal["off", "ab", "shadow"] = "off"
    fraction: Fraction = 0.1
    """With ab: this fraction of customers is the challenger's."""
    salt: str = ""
    """Changed, it draws other customers for the next test."""
