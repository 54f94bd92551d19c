"""The commands of `docs/applications.md`, run as they are written, on a small sample company.

Only the ports are others, and the service that is for other machines listens to this one alone. What needs Airflow is
tried by `tests/end_to_end/test_services.py`.
"""

import json
from pathlib import Path

import pytest

from examples.sample import generate
from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import ROOT, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week
from tests.company import own_database
from tests.published import publish_week
from tests.service.readme import ASK, KEYS, in_a_shell
from tests.service.started import started
from tests.service.versions import add_version, standing

WEEK = Week.parse("2026-11-09")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> dict[str, str]:
    """The environment of a sample company whose last week is published, its first version in charge."""
    folder = tmp_path_factory.mktemp("readme")
    landing = generate(folder / "landing", 40, 9, 7, WEEK).folder
    environ = {
        "BAROMETER_CONFIG": str(ROOT / "pipeline.toml"),
        "BAROMETER_HOME": str(folder / "home"),
        "BAROMETER__PATHS__LANDING": str(landing),
        **{f"BAROMETER__{key}": value for key, value in own_database(server_url).items()},
    }
    settings = load_settings(environ)
    file = build_snapshot(settings, WEEK, read_sources(settings, WEEK), settings.home / "snapshots" / str(WEEK))
    manifest = SnapshotManifest.read(file)
    standing(settings, add_version(settings, "one", 0.0, columns=manifest.columns))
    subjects = [(*subject, 0.5, None) for subject in subjects_of(file)]
    publish_week(settings, WEEK, subjects, snapshot_manifest=str(file), snapshot_digest=manifest.digest)
    return environ


def subjects_of(manifest: Path) -> list[tuple[str, str]]:
    import duckdb

    shards = str(manifest.parent / "*.parquet")
    return duckdb.execute("SELECT customer_id, product_id FROM read_parquet(?)", [shards]).fetchall()


def test_asking_and_keys(installation: dict[str, str], tmp_path: Path):
    settings = load_settings(installation)
    with started(settings) as service:
        said, errors = in_a_shell(ASK + KEYS, installation, service.port, tmp_path)
    assert len(said) == 6, errors
    readiness, published, predicted, header, line, with_key = said
    assert json.loads(readiness)["status"] == "ready"
    assert json.loads(published)["week"] == str(WEEK)
    (prediction,) = json.loads(predicted)["predictions"]
    assert prediction["features_week"] == str(WEEK)
    assert header.split(",")[:2] == ["satisfaction", "satisfied"]
    assert f",{WEEK}," in line
    assert json.loads(with_key)["predictions"][0]["features_week"] == str(WEEK)
    assert "It is shown only now" in errors
