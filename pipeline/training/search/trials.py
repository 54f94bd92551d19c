"""The trials of a search: what was tried, what it scored, and what the time budget left out.

Tuning writes them to the training's folder, they become a file of the bundle, and registering logs
each as a run of MLflow below the training's own.
"""

from pydantic import BaseModel, ConfigDict

TRIALS_FILE = "trials.json"
Parameters = dict[str, float | int | str | bool]


class Trial(BaseModel):
    """A candidate that was fitted and scored on every fold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    parameters: Parameters
    rung: int
    """0 for the first rung, which has the fewest rows; the best candidates of a rung go on to the
    next one."""
    rows: int
    """How many rows of the train weeks the rung uses, in proportion in each fold."""
    score: float
    """Mean of `scores`."""
    scores: list[float]
    """ROC AUC on the weeks that each fold validates on."""
    seconds: float


class Trials(BaseModel):
    """All trials of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: list[Trial]
    left_out: list[str]
    """What was not tried, and why, in words; empty if the search finished."""
    seconds: float
