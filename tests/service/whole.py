"""A service with all its parts: a registry with a champion, a warehouse with a published week and its snapshot."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from tests.published import publish_week
from tests.service.server import Server, running
from tests.service.versions import MARCH, add_version, standing, with_service

SUBJECT = ("c0000", "p0")
"""Whose prediction is published."""


@contextmanager
def whole_service(settings: Settings, **service: object) -> Iterator[Server]:
    """Run it for settings with a database; `service` goes to `[service]`."""
    standing(settings, add_version(settings, "champion", 0.2))
    manifest = build_snapshot(settings, MARCH, read_sources(settings, MARCH), settings.home / "snapshots/a")
    facts = {"snapshot_manifest": str(manifest), "snapshot_digest": SnapshotManifest.read(manifest).digest}
    publish_week(settings, MARCH, [(*SUBJECT, 0.75, None)], **facts)
    with running(with_service(settings, **service)) as server:
        yield server
