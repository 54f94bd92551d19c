"""`barometer config`: the settings with their origins, and a check of a company's configuration."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from pipeline.cli.console import WeekArgument, to_json
from pipeline.onboarding.findings import Finding
from pipeline.settings import Settings, load
from pipeline.settings.secrets import masked
from pipeline.weeks import Week


@click.group()
def config() -> None:
    """Show the configuration, or check it before the first run."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print {name: {value, from}} as JSON.")
def show(*, as_json: bool) -> None:
    """Print every setting with its value and its origin.

    The origin is the default, the file, the profile in BAROMETER_PROFILE, or an environment variable. Passwords are
    masked.

    \b
    Examples:
      barometer config show
      BAROMETER_PROFILE=production barometer config show | grep production
      barometer config show --json | jq '.["budget.quarantine_rows"]'
    """
    loaded = load()
    rows = {
        ".".join(map(_quote_key, name)): {"value": _mask(value), "from": loaded.origin(name)}
        for name, value in _flatten(loaded.settings.model_dump(mode="json"))
    }
    if as_json:
        click.echo(to_json(rows, ensure_ascii=False))
        return
    lines = [(f"{name} = {json.dumps(row['value'], ensure_ascii=False)}", row["from"]) for name, row in rows.items()]
    width = min(60, max(len(line) for line, _ in lines))
    for line, origin in lines:
        click.echo(f"{line:<{width}}  # {origin}")


def _flatten(values: dict[str, Any], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, (*parents, key))
        elif value is not None:
            yield (*parents, key), value


def _quote_key(part: str) -> str:
    return part if part.replace("_", "a").replace("-", "a").isalnum() and part.isascii() else json.dumps(part)


def _mask(value: Any) -> Any:
    return masked(value) if isinstance(value, str) and ("://" in value or "@" in value) else value


@config.command()
@click.option("--week", type=WeekArgument(), help="The week to check with. [default: the last week in the data]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
def check(week: Week | None, *, as_json: bool) -> None:
    """Report what is missing or odd in the configuration and the data.

    Reads the sources, runs features.sql and labels.sql for one week and the weeks of its training, and checks the
    suites. Writes nothing to the warehouse. A problem would stop a run or make its numbers wrong; the exit code is then
    1. A remark deserves a look.

    \b
    Examples:
      barometer config check
      barometer config check --week 2026-03-02
      barometer config check --json | jq '.[] | select(.severity == "problem")'
    """
    from pipeline.onboarding.check_config import check_config as findings_of

    settings = load().settings
    _lend_connections(settings)
    found = findings_of(settings, week, os.environ, on_progress=lambda text: click.echo(f"{text} …", err=True))
    problems = [finding for finding in found if finding.severity == "problem"]
    if as_json:
        click.echo(to_json([finding.model_dump() for finding in found], ensure_ascii=False))
    else:
        click.echo("\n".join([*map(_describe, found), _summarize(len(problems), len(found) - len(problems))]))
    sys.exit(1 if problems else 0)


def _lend_connections(settings: Settings) -> None:
    """Make Airflow's connections available outside a task, as in Airflow's services, if a source names one."""
    if any(source.connection for source in settings.sources.values()):
        from pipeline.orchestration.airflow_environment import airflow_environment

        os.environ.update({**airflow_environment(settings), "_AIRFLOW_PROCESS_CONTEXT": "server"})
        from pipeline.orchestration.airflow_connections import lend_connections

        lend_connections()


def _describe(finding: Finding) -> str:
    what_to_do = f"\n         → {finding.do}" if finding.do else ""
    return f"{finding.severity:<7}  {finding.about}: {finding.found}{what_to_do}"


def _summarize(problems: int, remarks: int) -> str:
    counted = f"{problems} problem{'s' * (problems != 1)}, {remarks} remark{'s' * (remarks != 1)}."
    return f"{counted} {'Correct the problems, then check again.' if problems else 'Ready to run.'}"
