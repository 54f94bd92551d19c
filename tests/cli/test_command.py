"""Every command: help, exit codes, errors in three parts, a quick start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pipeline.cli import main
from pipeline.errors import ConfigError
from pipeline.orchestration import service_lock
from pipeline.weeks import Week
from tests.company import company_settings

COMMANDS = [
    "run", "backfill", "train", "models", "promote", "rollback", "score", "query", "report", "status", "quarantine",
    "replay", "sample", "init", "config", "serve", "keys", "up", "down", "clean",
]  # fmt: skip
"""In the order in which people need them."""
SELF_EXPLAINED = {"help", "customers"}
WITHOUT_JSON = {"report", "sample", "serve", "up", "down", "clean"}
"""They print a path, or their effect is visible elsewhere."""


def every_command(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The names of every command, with those of groups."""
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
    return found


def named(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def test_exactly_these_commands_exist_in_the_order_people_meet_them(barometer):
    assert list(main.commands) == COMMANDS
    listed = barometer("--help").stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line[:2] == "  " and line[2:3].strip()] == COMMANDS


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_whose_options_are_explained(barometer, path):
    result = barometer(*path, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"Usage: barometer {' '.join(path)}" in result.stdout
    assert "\\b" not in result.stdout, "examples keep their lines by a control character, which is not shown"
    assert len(named(path).get_short_help_str(limit=300)) > 20
    for option in named(path).params:
        if option.param_type_name == "option" and option.name not in SELF_EXPLAINED:
            assert option.help or option.show_default, (path, option.name)


@pytest.mark.parametrize("path", [path for path in every_command() if not isinstance(named(path), click.Group)])
def test_a_script_can_read_what_a_command_found(path):
    options = {option.name for option in named(path).params}
    assert options & {"as_json", "form"} or path[-1] in WITHOUT_JSON, path


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_an_unknown_option_exits_with_2(barometer, path):
    result = barometer(*path, "--no-such-option")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such option" in result.stderr


def test_the_program_ends_with_its_status_after_all_that_is_to_happen_at_exit():
    program = """
import atexit, sys
from pipeline import cli
cli.main = lambda: (atexit.register(print, "at exit"), print("main"), sys.exit(3))
cli.program()
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "main\nat exit\n", "")


def test_help_imports_no_heavy_library():
    program = """
import sys
from pipeline.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"airflow", "duckdb", "pandas", "pyarrow", "great_expectations", "mlflow", "sqlalchemy", "starlette", "rich"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["run", "--week", "2026-03-03"],
        ["run", "--week", "soon"],
        ["backfill", "--from", "2026-03-02"],
        ["backfill", "--from", "2026-03-09", "--to", "2026-03-02"],
        ["query"],
        ["sample", "--customers", "0"],
        ["replay"],
        ["replay", "--week", "2026-03-03"],
    ],
)
def test_a_wrong_use_exits_with_2_and_says_how_it_is_used(barometer, arguments):
    result = barometer(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert result.stdout == ""


def test_an_error_is_told_in_three_parts_on_standard_error(barometer):
    result = barometer("config", "show", NO_SUCH_SETTING="1")
    assert result.exit_code == 1
    assert result.stdout == ""
    found, expected, do = result.stderr.splitlines()
    assert found.startswith("Error: ")
    assert "no_such_setting" in found
    assert expected.startswith("Expected: ")
    assert do.startswith("What to do: ")


def test_a_developer_can_see_the_traceback(barometer, monkeypatch):
    from click.testing import CliRunner

    result = CliRunner(env={"BAROMETER_DEBUG": "1", "BAROMETER_CONFIG": "/nowhere"}).invoke(main, ["config", "show"])
    assert isinstance(result.exception, ConfigError)


def test_config_prints_what_is_in_force_without_passwords(barometer):
    url = "postgresql://someone:s3cret@db.example:5432"
    text = barometer("config", "show", DATABASE__URL=url, BUDGET__QUARANTINE_ROWS="50")
    assert text.exit_code == 0
    assert 'database.url = "postgresql://someone:***@db.example:5432"' in text.stdout
    assert "budget.quarantine_rows = 50" in text.stdout
    values = json.loads(barometer("config", "show", "--json", DATABASE__URL=url).stdout)
    assert values["database.url"]["value"] == "postgresql://someone:***@db.example:5432"
    assert "s3cret" not in text.stdout + json.dumps(values)


def test_an_unreadable_url_is_not_printed_at_all(barometer):
    assert "s3cret" not in barometer("config", "show", DATABASE__URL="someone:s3cret@host").stdout


def test_status_of_an_empty_home_starts_no_server_and_says_what_to_do(barometer, home):
    result = barometer("status")
    assert result.exit_code == 0
    assert "next: make run" in result.stdout
    assert not (home / "postgres").exists()
    assert json.loads(barometer("status", "--json").stdout)["champion"] is None


def test_down_where_nothing_runs_is_harmless(barometer):
    result = barometer("down")
    assert (result.exit_code, result.stdout) == (0, "Nothing was running.\n")


def test_sample_writes_the_sample_company(barometer, tmp_path: Path):
    out = tmp_path / "sample"
    arguments = ["--customers", "50", "--weeks", "3", "--end", "2026-03-02", "--out", str(out)]
    result = barometer("sample", *arguments)
    assert result.exit_code == 0
    assert "best reachable AUC" in result.stdout
    assert json.loads((out / "sample.json").read_text())["first_week"] == str(Week.parse("2026-02-16"))


def test_a_command_whose_libraries_are_missing_names_the_first(barometer, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    for name in [name for name in sys.modules if name.startswith(("pipeline.batch_jobs", "pyarrow."))]:
        monkeypatch.delitem(sys.modules, name)
    result = barometer("score", "rows.csv")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The package pyarrow is not installed.")


def test_score_refuses_a_file_that_is_not_there(barometer, tmp_path: Path):
    result = barometer("score", str(tmp_path / "rows.csv"))
    assert result.exit_code == 1
    assert f"{tmp_path / 'rows.csv'} cannot be read: No such file or directory" in result.stderr


def test_a_backfill_that_fails_says_where_to_continue(barometer, company, home):
    lock = service_lock.take_for_services(company_settings(company, home))  # services that do not answer
    result = barometer("backfill", "--from", "2026-03-02", "--to", "2026-03-09", SERVICES__AIRFLOW_PORT="1")
    os.close(lock)
    assert result.exit_code == 1
    assert "Week 2026-03-02 failed" in result.stderr
    assert "Continue with --from 2026-03-02." in result.stderr
