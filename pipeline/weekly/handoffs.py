"""What one stage of the weekly run hands to the next: addresses and counts, never data."""

from datetime import datetime
from pathlib import Path

from pydantic import Field

from pipeline.handoff import Handoff
from pipeline.models.pinned import Models


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
    """Parquet; columns as `pipeline.validation.quarantine.COLUMNS`."""
    quarantined: int
    """Subjects."""
    expectations: int
    warnings: int


class Checked(Handoff):
    """The run may be published."""

    files: list[Path]
    shadow_files: list[Path] = Field(default_factory=list)
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
