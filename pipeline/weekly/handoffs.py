"""What one stage of the weekly run hands to the next: paths and counts, never data."""

from datetime import datetime
from pathlib import Path

from pydantic import Field

from pipeline.handoff import Handoff
from pipeline.models.pinned import Models


class Plan(Models):
    """What a run will do, decided once by its first task."""

    run_id: str
    """`<week>.<n>`: the week's n-th run on record."""
    week: str
    cutoff: datetime
    """The week's end, in UTC."""
    reused_snapshot: Path | None
    """Manifest of the published run's snapshot, if this run reuses it."""
    folder: Path
    """The run's own folder under the home: `runs/<run_id>`."""


class Ingested(Handoff):
    """The week's sources were read and cast."""

    manifest: Path | None
    """`SourcesManifest` as JSON; None if the snapshot is reused."""
    lines: int
    rows: int
    rejects: int


class SourcesValidated(Handoff):
    """The sources were validated."""

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
    """The features were validated."""

    quarantine: Path
    """Parquet; columns as `pipeline.validation.quarantine.COLUMNS`."""
    quarantined: int
    """Subjects that are kept out."""
    expectations: int
    warnings: int


class Checked(Handoff):
    """The predictions were checked; the run may be published."""

    files: list[Path]
    shadow_files: list[Path] = Field(default_factory=list)
    """Empty without usable shadow scores of every subject."""
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
