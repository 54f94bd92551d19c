"""A command that is killed while it runs a week: the next one knows that the run is dead, and not before it is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline import warehouse
from pipeline.local.postgres import embedded
from pipeline.orchestration.service_lock import close_dead_runs_if_alone
from pipeline.settings import Settings
from tests.company import company_settings
from tests.waiting import until

COMMAND = str(Path(sys.executable).with_name("barometer"))


@pytest.fixture
def installation(company: Path, tmp_path: Path) -> Iterator[Settings]:
    settings = company_settings(company, tmp_path / "home")
    yield settings
    embedded.remove(settings.home)


def states(settings: Settings) -> list[str]:
    with warehouse.transaction(settings) as connection:
        return list(connection.execute(text("SELECT state FROM prediction_runs")).scalars())


def test_a_killed_command_leaves_no_run_that_seems_to_go_on(installation: Settings, tmp_path: Path):
    environ = {
        **os.environ,
        "BAROMETER_CONFIG": str(installation.config_file),
        "BAROMETER_HOME": str(installation.home),
    }
    with warehouse.transaction(installation) as busy:
        busy.execute(text("LOCK TABLE published_weeks"))  # which keeps the command in its first stage
        with subprocess.Popen([COMMAND, "run", "--week", "2026-03-09"], env=environ, stderr=subprocess.DEVNULL) as run:
            try:
                until(lambda: states(installation) or run.poll() is not None, 120)
                close_dead_runs_if_alone(installation)
                assert states(installation) == ["running"]
            finally:
                run.kill()
    said = subprocess.run([COMMAND, "status", "--json"], env=environ, capture_output=True, text=True, check=True)
    (record,) = json.loads(said.stdout)["runs"]
    assert record["state"] == "failed"
    assert record["error"].startswith("The process ended before a stage could say why")
