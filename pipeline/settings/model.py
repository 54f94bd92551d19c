"""The tables of `pipeline.toml` about models: training, tuning, promotion, routing."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pipeline.settings.base import Fraction, Identifier, Table


class Model(Table):
    """The model: its name in the registry, the decision threshold, and training."""

    name: Identifier = "satisfaction"
    threshold: Fraction = 0.5
    """`likely_satisfied` is true if the satisfaction is at least this."""
    training_weeks: PositiveInt = 12
    """Number of past weeks in a training set: the latest ones whose labels have matured."""
    maturity_weeks: NonNegativeInt = 4
    """Number of weeks that a week's labels have to arrive before training uses the week."""
    validation_weeks: PositiveInt = 2
    test_weeks: PositiveInt = 2
    seed: NonNegativeInt = 7
    segments: tuple[str, ...] = ()
    """Columns of features.sql (categories or `info_*`); a version is also evaluated for each of their values."""


class Span(Table):
    """A range of numbers to draw from; with `log` the logarithm is drawn evenly."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 with log")
        return self

    def rvs(self, random_state: Any) -> float | int:
        """Return a random number of the range, drawn from a `numpy.random.RandomState`; for scikit-learn's samplers."""
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        drawn = float(random_state.uniform(*ends))
        number = math.exp(drawn) if self.log else drawn
        return round(number) if self.integer else number


Space = dict[str, Span | Annotated[list[float | int | str | bool], Field(min_length=1)]]
"""For each parameter, a range to draw from or the values to choose from."""


class Tuning(Table):
    """The search for hyperparameters: scikit-learn's successive halving, by weeks."""

    minutes: PositiveFloat = 5
    """Time limit; candidates that are left when it is reached are not tried."""
    candidates: PositiveInt = 24
    folds: PositiveInt = 3
    """Each fold validates on the weeks after those it trains on."""
    space: dict[Literal["logistic_regression", "hist_gradient_boosting"], Space] = Field(default_factory=dict)
    """By family of models. Families not named are not tried; if none is named, both are, with default spaces."""


class Promotion(Table):
    """The checks that a version must pass before it is promoted."""

    approval: bool = False
    """Whether a person must approve in Airflow's UI."""
    margin: Fraction = 0.01
    """Largest loss in ROC AUC against the champion, at the unfavourable end of the interval."""
    segment_margin: Fraction = 0.05
    """The same for each product and segment, beyond what chance can explain."""
    calibration_error: Fraction = 0.05
    """Largest expected calibration error, where there are enough test rows to distinguish it from chance."""
    latency_milliseconds: PositiveFloat = 5
    """Largest median time to score one row."""
    suspicious_auc: Fraction = 0.98
    """A version or a single feature with a higher ROC AUC is taken to have seen the label."""


class Routing(Table):
    """How the challenger takes part in the weekly run."""

    mode: Literal["off", "ab", "shadow"] = "off"
    fraction: Fraction = 0.1
    """With ab: the fraction of customers that the challenger serves."""
    salt: str = ""
    """A different text assigns different customers to the challenger."""
