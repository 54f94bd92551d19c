"""What one stage hands to the next: addresses and counts, never data. These, as JSON, are all that XCom carries."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Handoff(BaseModel):
    """What a stage hands on."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Challenger(Handoff):
    """The model version that takes part beside the run's own, the champion."""

    model_version: str
    trained_after_cutoff: bool
    bundle: Path
    bundle_digest: str


class Routing(Handoff):
    """Which part the challenger has in a run."""

    mode: Literal["off", "ab", "shadow"] = "off"
    """ab: it serves a fraction of the customers; shadow: it scores everybody into `shadow_predictions`."""
    fraction: float = 0
    """With ab: of the customers."""
    salt: str = ""
    challenger: Challenger | None = None
    """None when off."""
    reason: str = "routing is off"
    """Why this mode: in words."""


class Models(Handoff):
    """Which model versions score, decided once in a run's first task and pinned."""

    model_version: str
    model_reason: str
    """Why this version: in words."""
    trained_after_cutoff: bool
    """Whether the model saw data from after the cutoff of the week it scores."""
    bundle: Path
    """Folder of the model version's files."""
    bundle_digest: str
    """sha256 of the folder's `bundle.json`, as the registry holds it."""
    routing: Routing = Routing()


class Plan(Models):
    """What a run will do, decided once in its first task and pinned."""

    run_id: str
    """`<week>.<n>`: the week's n-th run on record."""
    week: str
    cutoff: datetime
    """The week's end, in UTC."""
    reused_snapshot: Path | None
    """Manifest of the published run's snapshot, when this run reuses it."""
    folder: Path
    """The run's own folder under the home: `runs/<run_id>`."""


class Ingested(Handoff):
    """The sources, read and cast."""

    manifest: Path | None
    """`SourcesManifest` as JSON; None when the snapshot is reused."""
    lines: int
    rows: int
    rejects: int


class SourcesValidated(Handoff):
    """Verdict on the sources."""

    expectations: int
    warnings: int


class Snapshot(Handoff):
    """The week's features."""

    manifest: Path
    """`SnapshotManifest` as JSON, beside the shards."""
    digest: str
    subjects: int
    rows: int
    shards: int


class FeaturesValidated(Handoff):
    """Verdict on the features, and who is kept out."""

    quarantine: Path
    """Parquet: shard (int32), row (int64, position in the shard), customer_id, product_id, reasons (list of text)."""
    quarantined: int
    """Subjects."""
    expectations: int
    warnings: int


class Shadow(Handoff):
    """One shard's shadow scores: the challenger's, which nobody is served."""

    file: Path
    """Parquet, columns as `pipeline.weekly.score.SHADOW_SCHEMA`."""
    digest: str
    """sha256 of the file."""


class Scored(Handoff):
    """One shard's predictions."""

    shard: int
    file: Path
    """Parquet, columns as `pipeline.weekly.score.PREDICTIONS_SCHEMA`."""
    rows: int
    digest: str
    """sha256 of the file."""
    shadow: Shadow | None = None
    shadow_failure: str | None = None
    """Why the challenger could not score in the shadow."""
    started_at: datetime
    finished_at: datetime


class Checked(Handoff):
    """The run may be published."""

    files: list[Path]
    shadow_files: list[Path] = []
    """Empty when nothing was scored in the shadow, or not everybody."""
    predicted: int
    quarantined: int
    expectations: int
    warnings: int


class Published(Handoff):
    """The week is visible."""

    week: str
    run_id: str
    predicted: int
    quarantined: int
    export: Path


class Reported(Handoff):
    """The week's report."""

    report: Path


class TrainingPlan(Handoff):
    """What a training will do, decided once in its first task and pinned."""

    training_id: str
    """`<as_of>-<digest of the DAG run's id>`: a retried or cleared DAG run works in the same folder."""
    as_of: str
    """The week at whose end the training stands."""
    cutoff: datetime
    """That week's end, in UTC: nothing that became known at or after it is used."""
    weeks: list[str]
    """The past weeks that have matured by then, oldest first."""
    folder: Path
    """The training's own folder under the home: `training/<training_id>`."""
    pipeline: Path | None = None
    """A team's own pipeline, a copy in that folder, to fit instead of searching for one."""


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
    """`logistic_regression`, `hist_gradient_boosting`, or `own`: a team's pipeline, for which nothing is searched."""
    parameters: dict[str, float | int | str | bool]
    trials: Path
    """`pipeline.training.trials.Trials` as JSON."""
    left_out: list[str]
    """What was not tried, and why, in words: then another machine may choose otherwise on the same data."""
    seconds: float


class Fitted(Handoff):
    """A fitted and calibrated pipeline, exported to ONNX and found equal there."""

    model: Path
    """Folder of the version's files, not sealed yet."""
    facts: Path
    """JSON: what `bundle.json` will say of it."""
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
    """The week from which the version is in force; None when another one is in force by then."""
    reason: str
    metrics: dict[str, float]


class Gated(Handoff):
    """A promotion that the gate lets pass."""

    promotion_id: int
    """Its entry in `model_promotions`."""
    version: str
    role: Literal["champion", "challenger"]
    from_week: str
    asked_by: str
    reason: str
    checks: list[str]
    """Each check's name and its outcome, in words."""


class Approved(Handoff):
    """Whether the promotion is to be carried out."""

    approved: bool
    decided_by: str
    """The approver; who asked, where no approval is configured."""
    comment: str = ""


class Promoted(Handoff):
    """A promotion that was carried out."""

    promotion_id: int
    version: str
    role: str
    from_week: str
    from_version: str | None
