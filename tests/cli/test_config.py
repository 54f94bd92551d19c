"""The output of `barometer config show`, `config check` and `init` for people and scripts."""

import json
import tomllib

import pytest

URL = "postgresql://someone:s3cret@db.example:5432"


def shown(result) -> dict[str, str]:
    """Return the origin of each line `name = value`."""
    assert result.exit_code == 0
    lines = (line.rsplit("  # ", 1) for line in result.stdout.splitlines())
    return {setting.strip(): origin for setting, origin in lines}


def test_every_value_is_shown_with_where_it_came_from(barometer, company):
    lines = shown(barometer("config", "show", BUDGET__QUARANTINE_ROWS="50"))
    assert lines['company = "Test & Co"'] == "pipeline.toml"
    assert lines["budget.quarantine_rows = 50"] == "BAROMETER__BUDGET__QUARANTINE_ROWS"
    assert lines["services.airflow_port = 8080"] == "default"
    assert lines['sources.events.columns.amount.type = "decimal(12,2)"'] == "pipeline.toml"
    assert lines[f'config_file = "{company}/pipeline.toml"'] == "BAROMETER_CONFIG"


def test_what_is_shown_is_toml(barometer):
    values = tomllib.loads(barometer("config", "show").stdout)
    assert values["sources"]["events"]["lookback_weeks"] == 4


def test_as_json(barometer):
    rows = json.loads(barometer("config", "show", "--json", BUDGET__QUARANTINE_ROWS="50").stdout)
    assert rows["budget.quarantine_rows"] == {"value": 50, "from": "BAROMETER__BUDGET__QUARANTINE_ROWS"}


@pytest.mark.parametrize("url", [URL, "someone:s3cret@host", "postgresql://db.example/d?user=u&password=s3cret"])
def test_no_password_is_ever_shown(barometer, url):
    for arguments in (["show"], ["show", "--json"]):
        result = barometer("config", *arguments, DATABASE__URL=url)
        assert result.exit_code == 0
        assert "s3cret" not in result.stdout + result.stderr
        assert "***" in result.stdout


def test_check_exits_with_1_only_on_problems(barometer):
    good = barometer("config", "check")
    assert good.exit_code == 0, good.stdout
    assert good.stdout.splitlines()[-1] == "0 problems, 2 remarks. Ready to run."
    bad = barometer("config", "check", "--json", SOURCES__EVENTS__PATH="nothing-{week}.csv")
    assert bad.exit_code == 1
    (found,) = [each for each in json.loads(bad.stdout) if each["severity"] == "problem"]
    assert found["about"] == "source events"
    assert "there is no file nothing-" in found["found"]


def test_init_drafts_and_says_what_to_do_next(barometer, company, tmp_path):
    target = tmp_path / "drafts"
    result = barometer("init", "--from", str(company / "landing"), "--to", str(target))
    assert result.exit_code == 0
    assert str(target / "pipeline.toml") in result.stdout
    assert "barometer config check" in result.stdout
    again = barometer("init", "--from", str(company / "landing"), "--to", str(target))
    assert again.exit_code == 1
    assert "has pipeline.toml" in again.stderr
