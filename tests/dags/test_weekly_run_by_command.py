"""The commands that run DAGs: what they print, and how they end.

After `test_weekly_run`, whose weeks it publishes again.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.run import summary
from tests.dags.weeks import AS_OF, WEEK

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")


def test_run_prints_all_that_a_person_wants_to_know(installation, weekly):
    record = weekly()
    headline, *lines = summary(installation, record).splitlines()
    assert headline == f"Week {WEEK} is published."
    said = dict(line.strip().split("  ", 1) for line in lines if "  " in line.strip())
    said = {name: text.strip() for name, text in said.items()}
    assert [said[name] for name in ("run", "subjects", "predicted", "quarantined")] == [record.run_id, "100", "99", "1"]
    assert said["rejects"] == f"1 of {record.source_lines:,} source lines"
    assert said["model version"] == f"1 ({record.model_reason})"
    assert [part.split()[0] for part in said["stage times"].split(",")] == [
        "plan", "ingest", "validate_sources", "features", "validate_features", "score", "check", "publish", "report",
    ]  # fmt: skip
    assert said["report"] == str(installation.site / f"reports/{WEEK}.html")
    assert "What to do next:" in lines


def test_backfill_prints_a_row_for_each_week_and_stops_at_the_first_that_fails(weekly):
    missing = WEEK.plus(1)  # the feed ends before
    command = [str(Path(sys.executable).with_name("barometer")), "backfill", "--model", "current"]
    arguments = ["--from", str(AS_OF), "--to", str(missing.plus(1))]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    header, *weeks = [line.split() for line in done.stdout.splitlines()]
    assert header == ["week", "subjects", "predicted", "quarantined", "rejects", "model", "seconds"]
    assert [row[:4] for row in weeks] == [[str(AS_OF), "100", "100", "0"], [str(WEEK), "100", "99", "1"]]
    *_, says_which, found, expected, do = done.stderr.splitlines()
    assert says_which == f"Week {missing} failed; the weeks before it are published. Continue with --from {missing}."
    assert found.startswith("Error: Source events: there is no file")
    assert expected.startswith("Expected: ")
    assert do.startswith("What to do: ")
    assert "Traceback" not in done.stderr
