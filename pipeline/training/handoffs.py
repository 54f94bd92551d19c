"""What one stage of a training hands to the next: paths and counts, never data."""

from datetime import datetime
from pathlib import Path

from pipeline.handoff import Facts, Handoff

TRIALS_FILE = "trials.json"
Parameters = dict[str, float | int | str | bool]


class TrainingPlan(Handoff):
    """What a training will do, decided once by its first task."""

    training_id: str
    """`<as_of>-<digest of the DAG run's id>`: a retried or cleared DAG run works in the same folder."""
    as_of: str
    """The last week that the training may know."""
    cutoff: datetime
    """That week's end, in UTC. Nothing that became known at or after it is used."""
    weeks: list[str]
    """The past weeks whose labels have matured by then, oldest first."""
    folder: Path
    """The training's own folder under the home: `training/<training_id>`."""
    pipeline: Path | None = None
    """A team's own pipeline, copied to that folder, which is fitted without a search."""


class TrainingSet(Handoff):
    """The features of past weeks joined with their labels."""

    manifest: Path
    """`TrainingSetManifest` as JSON, beside the weeks' files."""
    digest: str
    weeks: int
    rows: int
    satisfied: int


class Tuned(Handoff):
    """The hyperparameters that the search chose."""

    family: str
    """`logistic_regression`, `hist_gradient_boosting`, or `own` for a team's own pipeline."""
    parameters: Parameters
    trials: Path
    """`Trials` as JSON."""
    left_out: list[str]
    """What was not tried, and why. If there is any, another machine may choose otherwise."""
    seconds: float


class Fitted(Handoff):
    """A fitted and calibrated pipeline, exported to ONNX and compared with it."""

    model: Path
    """The folder of the version's files, not sealed yet."""
    facts: Path
    """JSON: the facts for its `bundle.json`."""
    parity_rows: int
    """Rows on which scikit-learn and ONNX were compared."""


class Evaluated(Handoff):
    """A sealed bundle with its metrics on the test weeks."""

    bundle: Path
    bundle_digest: str
    test_rows: int
    metrics: dict[str, float]


class Registered(Handoff):
    """A model version in the registry."""

    version: str
    is_champion: bool
    from_week: str | None
    """The first week in which the version is in force; None if another one is."""
    reason: str
    metrics: dict[str, float]


class Trial(Facts):
    """A candidate that was fitted and scored on every fold."""

    family: str
    parameters: Parameters
    rung: int
    """0 for the first rung, which has the fewest rows; the best candidates of a rung go on to the next one."""
    rows: int
    """How many rows of the train weeks the rung uses, in proportion in each fold."""
    score: float
    """Mean of `scores`."""
    scores: list[float]
    """ROC AUC on the weeks that each fold validates on."""
    seconds: float


class Trials(Facts):
    """All trials of a training."""

    trials: list[Trial]
    left_out: list[str]
    """What was not tried, and why, in words; empty if the search finished."""
    seconds: float
