"""`barometer config`: the settings in force."""

import json
from typing import Any

import click

from pipeline.settings import load_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def config(*, as_json: bool) -> None:
    r"""Print the settings in force.

    What pipeline.toml and the environment give, with passwords masked.

    \b
    Examples:
      barometer config
      BAROMETER__BUDGET__QUARANTINE_ROWS=50 barometer config --json | jq .budget
    """
    values = _masked(load_settings().model_dump(mode="json"))
    if as_json:
        click.echo(json.dumps(values, indent=1))
    else:
        for name, value in _flat(values):
            click.echo(f"{name} = {json.dumps(value, ensure_ascii=False)}")


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, key) for key, item in value.items()}
    return _without_password(value) if name == "url" and value else value


def _without_password(url: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            pairs.append((f"{prefix}{key}", value))
    return pairs
