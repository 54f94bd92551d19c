"""The commands that read the warehouse: query, report and status."""

import json
from typing import Any

import pytest

from pipeline.weeks import Week
from tests.published import publish_week


@pytest.fixture
def here(barometer, home, server_url, warehouse_settings):
    """The command on a warehouse with one published week."""
    database = {"DATABASE__URL": server_url, "DATABASE__PREFIX": warehouse_settings.database.prefix}

    def call(*arguments: str) -> Any:
        return barometer(*arguments, **database)

    return call


@pytest.mark.parametrize(("form", "start"), [("csv", '"n"\n1'), ("json", '[\n{"n": 1}'), ("parquet", "PAR1")])
def test_query_writes_what_scripts_read(here, form, start):
    result = here("query", "SELECT 1 AS n", "--format", form)
    assert result.exit_code == 0
    assert result.stdout_bytes.decode(errors="replace").startswith(start)


def test_query_writes_to_a_file(here, tmp_path):
    out = tmp_path / "answer.csv"
    assert here("query", "SELECT 1 AS n", "--format", "csv", "--out", str(out)).stdout == ""
    assert out.read_text() == '"n"\n1\n'


def test_query_refuses_to_write_to_the_warehouse(here):
    result = here("query", "DELETE FROM prediction_runs")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: PostgreSQL refuses the statement")


def test_report_writes_the_latest_or_the_named_week_anew(here, home, warehouse_settings):
    assert "No week is published yet" in here("report").stderr
    for week in ("2026-03-02", "2026-02-23"):
        publish_week(warehouse_settings, Week.parse(week), [("c1", "p1", 0.25, None)])
    assert here("report").stdout.strip() == str(home / "site/reports/2026-03-02.html")
    assert "23 February" in (home / "site/reports/2026-03-02.html").read_text()
    assert here("report", "--week", "2026-02-23").stdout.strip() == str(home / "site/reports/2026-02-23.html")
    refused = here("report", "--week", "2026-03-09")
    assert refused.exit_code == 1
    assert "2026-03-09 has no published run" in refused.stderr


def test_status_tells_the_last_runs_and_what_to_do(here):
    result = here("status")
    assert result.exit_code == 0
    assert "champion       none" in result.stdout
    assert "next: barometer train" in result.stdout
    assert json.loads(here("status", "--json").stdout)["runs"] == []
