"""The README's lines for those who build applications, run as they are written, on a small sample company.

Only the port is another, and the service that is for others listens to this machine alone. What needs Airflow is told by
`tests/end_to_end/test_services.py`.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from examples.sample import generate
from pipeline.features import build_snapshot
from pipeline.ingest import read_sources
from pipeline.manifests import SnapshotManifest
from pipeline.settings import ROOT, load_settings
from pipeline.weeks import Week
from tests.end_to_end.airflow import free_ports
from tests.published import publish_week
from tests.service.started import started
from tests.service.versions import add_version, fresh_prefix, standing

WEEK = Week.parse("2026-11-09")
SECTION = (ROOT / "README.md").read_text().partition("## If you build applications")[2].partition("\n## ")[0]
ASK, SCORE_FILES, KEYS = [block.partition("```")[0] for block in SECTION.split("```sh\n")[1:]]
CURL = "silent\nshow-error\nfail-with-body\nretry = 30\nretry-connrefused\nretry-delay = 1\nwrite-out = \\n\n"
"""A refusal ends the script; a service that is still starting is waited for."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> dict[str, str]:
    """The environment of a sample company whose last week is published, its first version in charge."""
    folder = tmp_path_factory.mktemp("readme")
    landing = generate(folder / "landing", 40, 9, 7, WEEK).folder
    environ = {
        "BAROMETER_CONFIG": str(ROOT / "pipeline.toml"),
        "BAROMETER_HOME": str(folder / "home"),
        "BAROMETER__PATHS__LANDING": str(landing),
        "BAROMETER__DATABASE__URL": server_url,
        "BAROMETER__DATABASE__PREFIX": fresh_prefix(),
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


def in_a_shell(lines: str, installation: dict[str, str], port: int, folder: Path) -> tuple[list[str], str]:
    """Run lines as a person would, on other ports; end what they left running; return what they printed."""
    (second_port,) = free_ports(1)
    for written, tried in {"8000": port, "8001": second_port}.items():
        lines = lines.replace(f"127.0.0.1:{written}", f"127.0.0.1:{tried}").replace(f"PORT={written}", f"PORT={tried}")
    (folder / ".curlrc").write_text(CURL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "said").open("w+") as said, (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-c", lines.replace("0.0.0.0", "127.0.0.1")],
            env={**os.environ, **installation, "PATH": path, "CURL_HOME": str(folder)},
            cwd=folder, stdout=said, stderr=errors, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(90)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        said.seek(0)
        errors.seek(0)
        assert code == 0, errors.read()
        lines_said = [line for line in said.read().splitlines() if line and not line.startswith("Listening on ")]
        return lines_said, errors.read()
