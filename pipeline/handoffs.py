"""What one stage hands to the next: addresses and counts, never data. These, as JSON, are all that XCom carries."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class _Handoff(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(_Handoff):
    """What a run will do, decided once in its first task and pinned."""

    run_id: str
    """`<week>.<n>`: the week's n-th run on record."""
    week: str
    cutoff: datetime
    """The week's end, in UTC."""
    model_version: str
    model_reason: str
    """Why this version: in words."""
    trained_after_cutoff: bool
    """Whether the model saw data from after the week's cutoff."""
    bundle: Path
    """Folder of the model version's files."""
    bundle_digest: str
    """sha256 of the folder's `bundle.json`, as the registry holds it."""
    reused_snapshot: Path | None
    """Manifest of the published run's snapshot, when this run reuses it."""
    folder: Path
    """The run's own folder under the home: `runs/<run_id>`."""


class Ingested(_Handoff):
    """The sources, read and cast."""

    manifest: Path | None
    """`SourcesManifest` as JSON; None when the snapshot is reused."""
    lines: int
    rows: int
    rejects: int


class SourcesValidated(_Handoff):
    """Verdict on the sources."""

    expectations: int
    warnings: int


class Snapshot(_Handoff):
    """The week's features."""

    manifest: Path
    """`SnapshotManifest` as JSON, beside the shards."""
    digest: str
    subjects: int
    rows: int
    shards: int


class FeaturesValidated(_Handoff):
    """Verdict on the features, and who is kept out."""

    quarantine: Path
    """Parquet: shard (int32), row (int64, position in the shard), customer_id, product_id, reasons (list of text)."""
    quarantined: int
    """Subjects."""
    expectations: int
    warnings: int


class Scored(_Handoff):
    """One shard's predictions."""

    shard: int
    file: Path
    """Parquet, columns as `pipeline.score.PREDICTIONS_SCHEMA`."""
    rows: int
    digest: str
    """sha256 of the file."""
    started_at: datetime
    finished_at: datetime


class Checked(_Handoff):
    """The run may be published."""

    files: list[Path]
    predicted: int
    quarantined: int
    expectations: int
    warnings: int


class Published(_Handoff):
    """The week is visible."""

    week: str
    run_id: str
    predicted: int
    quarantined: int
    export: Path


class Reported(_Handoff):
    """The week's report."""

    report: Path


class TrainingPlan(_Handoff):
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


class TrainingSet(_Handoff):
    """The features of past weeks joined with their labels."""

    manifest: Path
    """`TrainingSetManifest` as JSON, beside the weeks' files."""
    digest: str
    weeks: int
    rows: int
    satisfied: int


class Fitted(_Handoff):
    """A fitted and calibrated pipeline, exported to ONNX and found equal there."""

    model: Path
    """Folder of the version's files, not sealed yet."""
    facts: Path
    """JSON: what `bundle.json` will say of it."""
    parity_rows: int
    """Rows on which scikit-learn and ONNX were compared."""


class Evaluated(_Handoff):
    """A sealed bundle with its metrics on the test weeks."""

    bundle: Path
    bundle_digest: str
    test_rows: int
    metrics: dict[str, float]


class Registered(_Handoff):
    """A model version in the registry."""

    version: str
    is_champion: bool
    from_week: str | None
    """The week from which the version is in force; None when another one is in force by then."""
    reason: str
    metrics: dict[str, float]
