"""The trials of a search: what was tried, what it scored, and what the budget left out.

Tuning writes them beside the training, they become a file of the bundle, and registering logs each as a run of MLflow
below the training's own. Entry points: `Trials` and `log_trials`.
"""

import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRIALS_FILE = "trials.json"
Parameters = dict[str, float | int | str | bool]


class Trial(BaseModel):
    """A candidate that was fitted and scored on every fold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    parameters: Parameters
    rung: int
    """0 for the first, on the fewest rows; only the best of a rung come to the next one."""
    rows: int
    """Of all folds' weeks, the train weeks."""
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
    """What was not tried, and why, in words; empty when the search came to its end."""
    seconds: float


def log_trials(client: "MlflowClient", experiment_id: str, training_run_id: str, trials: Trials) -> None:
    """Log each trial as a run nested below the training's, in one batch each."""
    from mlflow.entities import Metric, Param
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    logged_at = int(time.time() * 1000)
    for number, trial in enumerate(trials.trials, start=1):
        run = client.create_run(
            experiment_id,
            run_name=f"{trial.family} {number}",
            tags={MLFLOW_PARENT_RUN_ID: training_run_id},
        )
        facts = {"family": trial.family, "rung": trial.rung, "rows": trial.rows, **trial.parameters}
        measured = {"validation_roc_auc": trial.score, "seconds": trial.seconds}
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, logged_at, 0) for name, value in measured.items()],
            params=[Param(name, str(value)) for name, value in facts.items()],
        )
        client.set_terminated(run.info.run_id)
