"""`barometer quarantine`, on a week with three rejects and two quarantined subjects."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.errors import BudgetError
from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.warehouse.evidence import record_quarantine
from pipeline.weekly.ingest import ingest
from tests.company import company_settings
from tests.handmade import WEEK, feature_row, make_quarantine, make_run, make_snapshot

Barometer = Callable[..., Result]
BAD = ["c0001,p1,yesterday,1,a", "c0001,p1", "c0002,p2,2026-03-03 10:00:00,much,a"]
RUN = f"{WEEK}.1"


@pytest.fixture
def settings(company: Path, tmp_path: Path, server_url: str) -> Settings:
    folder = shutil.copytree(company, tmp_path / "flawed")
    with (folder / f"landing/events-{WEEK}.csv").open("a") as file:
        file.write("\n".join(BAD) + "\n")
    prefix = f"t{uuid4().hex[:12]}"
    return company_settings(folder, tmp_path / "home", DATABASE__URL=server_url, DATABASE__PREFIX=prefix)


@pytest.fixture
def barometer(settings: Settings) -> Barometer:
    environ = {
        "BAROMETER_CONFIG": str(settings.config_file),
        "BAROMETER_HOME": str(settings.home),
        "BAROMETER__DATABASE__URL": settings.database.url,
        "BAROMETER__DATABASE__PREFIX": settings.database.prefix,
    }

    def call(*arguments: str) -> Result:
        result = CliRunner(env=environ).invoke(main, ["quarantine", *arguments], prog_name="barometer")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


@pytest.fixture
def week(settings: Settings) -> None:
    """A run that was refused because of its rejects and has two quarantined subjects."""
    plan = make_run(settings)
    with pytest.raises(BudgetError) as refused:
        ingest(settings, plan)
    runs.fail_run(settings, plan.run_id, str(refused.value))
    snapshot = make_snapshot(settings.home / "snapshot", [[feature_row("c1"), feature_row("c2", amount=float("inf"))]])
    kept_out = make_quarantine(plan.folder / "quarantine.parquet", [(0, 0, "c1", "p0"), (0, 1, "c2", "p0")])
    record_quarantine(settings, plan.run_id, snapshot.manifest, kept_out.quarantine)
    runs.update_run(settings, plan.run_id, subjects=300, snapshot_manifest=str(snapshot.manifest))


def test_list_counts_by_source_and_reason_beside_the_budgets(barometer, week):
    result = barometer("list")
    assert result.exit_code == 0
    first, *lines = result.stdout.splitlines()
    assert first.startswith(f"Run {RUN}, failed: Source events has 3 new rejects")
    assert lines == [
        "  events: 3 rejects, 3 of them new, in files of 204 lines; new ones allowed: 2",
        "            1  amount: '…' is not a decimal(12,2)",
        "            1  happened_at: '…' is not a timestamp",
        "            1  has 2 values, not 5",
        "  2 of 300 subjects in quarantine; allowed: 3",
        "            2  made up",
    ]


def test_list_as_json_and_by_run_and_week(barometer, week):
    by_run, by_week = barometer("list", "--json", "--run", RUN), barometer("list", "--json", "--week", str(WEEK))
    assert by_run.stdout == by_week.stdout
    (found,) = json.loads(by_run.stdout)
    assert (found["run_id"], found["rejects"], found["quarantined"]) == (RUN, 3, 2)
    assert found["sources"]["events"]["allowed_rejects"] == 2


def test_show_prints_a_reject_whole(barometer, week):
    result = barometer("show", "--source", "events", "--line", "205", "--file", f"events-{WEEK}.csv")
    said = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert (said["reason"], said["content"]) == ("amount: 'much' is not a decimal(12,2)", BAD[2])
    assert said["uri"].endswith(f"events-{WEEK}.csv")


def test_show_prints_a_subject_whole(barometer, week):
    (found,) = json.loads(barometer("show", "--customer", "c2", "--product", "p0", "--json").stdout)
    assert found["reasons"] == ["made up"]
    assert found["rows"] == [{**feature_row("c2"), "amount": "inf", "info_name": None}]
    assert "amount       inf" in barometer("show", "--customer", "c2", "--product", "p0").stdout


def test_export_writes_rejects_and_subjects(barometer, week, tmp_path):
    out = tmp_path / "out.csv"
    assert barometer("export", "--source", "events", "--to", str(out)).stdout == f"3 rejects of {RUN} are in {out}.\n"
    assert out.read_text().splitlines() == ["customer_id,product_id,happened_at,amount,kind", *BAD]
    out = tmp_path / "out"
    result = barometer("export", "--subjects", "--format", "parquet", "--to", str(out))
    assert result.stdout == f"2 rows of features of {RUN} are in {out}.\n"
    assert pq.read_table(out)["customer_id"].to_pylist() == ["c1", "c2"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"],
        ["show", "--source", "events"],
        ["show", "--source", "events", "--line", "0"],
        ["show", "--source", "events", "--line", "3", "--customer", "c1"],
        ["export", "--to", "out.csv"],
        ["export", "--to", "out.csv", "--subjects", "--source", "events"],
        ["export", "--to", "out.xlsx", "--subjects"],
        ["list", "--week", str(WEEK), "--run", RUN],
    ],
)
def test_a_wrong_use_exits_with_2(barometer, arguments):
    result = barometer(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage:" in result.stderr


def test_what_is_not_there_is_said_in_three_parts(barometer, settings):
    for arguments, found in (
        (["list"], "No run is on record."),
        (["list", "--week", str(WEEK)], f"There is no run of the week {WEEK} on record."),
        (["list", "--run", RUN], f"There is no run '{RUN}' on record."),
    ):
        result = barometer(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {found}")
    make_run(settings)
    result = barometer("show", "--source", "events", "--line", "3")
    assert result.stderr.startswith(f"Error: The run {RUN} kept out nothing with source events, line 3.")
