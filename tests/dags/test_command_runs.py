"""The commands that run DAGs, in this process: what they print, and how they end."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from tests.dags.weeks import AS_OF, WEEK

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")


@pytest.fixture
def barometer(weekly, output_as_on_a_terminal) -> Callable[..., Result]:
    def call(*arguments: str) -> Result:
        with output_as_on_a_terminal():
            return CliRunner().invoke(main, arguments)

    return call


def test_run_prints_all_that_a_person_wants_to_know(barometer, installation):
    result = barometer("run", "--week", str(WEEK))
    assert result.exit_code == 0
    said = dict(line.strip().split("  ", 1) for line in result.stdout.splitlines() if "  " in line.strip())
    assert result.stdout.startswith(f"Week {WEEK} is published.")
    assert [said[name].strip() for name in ("subjects", "predicted", "quarantined")] == ["100", "99", "1"]
    assert said["rejects"].strip().startswith("1 of ")
    assert said["model version"].strip().startswith("1 (")
    assert [part.split()[0] for part in said["stage times"].split(",")] == [
        "plan", "ingest", "validate_sources", "features", "validate_features", "score", "check", "publish", "report",
    ]  # fmt: skip
    assert said["report"].strip() == str(installation.site / f"reports/{WEEK}.html")
    assert "What to do next:" in result.stdout


def test_run_as_json_is_the_run_s_record(barometer):
    record = json.loads(barometer("run", "--week", str(WEEK), "--json").stdout)
    assert (record["state"], record["predicted"]) == ("published", 99)


def test_backfill_prints_a_row_for_each_week(barometer):
    result = barometer("backfill", "--from", str(AS_OF), "--to", str(WEEK))
    assert result.exit_code == 0
    header, *weeks = [line.split() for line in result.stdout.splitlines()]
    assert header == ["week", "subjects", "predicted", "quarantined", "rejects", "model", "seconds"]
    assert [row[:4] for row in weeks] == [[str(AS_OF), "100", "100", "0"], [str(WEEK), "100", "99", "1"]]


def test_backfill_stops_at_the_first_week_that_fails_and_says_which(barometer):
    missing = WEEK.plus(1)  # no file: the feed ends before
    result = barometer("backfill", "--from", str(WEEK), "--to", str(missing.plus(1)), "--model", "current")
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["week", str(WEEK)]
    assert f"Continue with --from {WEEK.plus(1)}" in result.stderr
    assert "Traceback" not in result.stderr
