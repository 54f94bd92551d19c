"""Features, the fourth stage: the week's snapshot, made by `pipeline.point_in_time.snapshot` or reused.

A week that is published keeps its snapshot unless the run rebuilds it. The entry point is
`features`.
"""

from uuid import uuid4

from pipeline.manifests import SnapshotManifest, SourcesManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.weekly.handoffs import Ingested, Plan, Snapshot
from pipeline.weeks import Week


def features(settings: Settings, plan: Plan, ingested: Ingested) -> Snapshot:
    """Make the week's snapshot, or return the published one that the run reuses.

    Raises
    ------
    FeatureError
        If `features.sql` fails or breaks its contract.
    ConservationError
        If a file of the reused snapshot has changed.
    """
    if plan.reused_snapshot is not None:
        path = plan.reused_snapshot
        SnapshotManifest.read(path).checked_files(path.parent)
    else:
        assert ingested.manifest is not None
        folder = settings.home / "snapshots" / plan.week / uuid4().hex[:12]
        path = build_snapshot(settings, Week.parse(plan.week), SourcesManifest.read(ingested.manifest), folder)
    manifest = SnapshotManifest.read(path)
    return Snapshot(
        manifest=path,
        digest=manifest.digest,
        subjects=manifest.subjects,
        rows=manifest.rows,
        shards=len(manifest.shards),
    )
