"""`barometer keys`: the API keys of the service."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click

from pipeline.cli.console import to_json
from pipeline.service.access import key_file
from pipeline.settings import load_settings
from pipeline.settings.service import AccessScope

SCOPES = click.Choice(get_args(AccessScope))
COLUMNS = f"{'id':<10}{'scopes':<22}{'created':<12}{'expires':<12}name"


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of the service.

    A running service applies a change within a second. To rotate a key, create a second one, hand it out, and revoke
    the first.

    \b
    Examples:
      barometer keys create shop --scope predict --expires-in-days 90
      barometer keys list
      barometer keys revoke 1f0c2b9a
    """


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", type=SCOPES, multiple=True, required=True, help="A permission; repeatable.")
@click.option("--expires-in-days", type=click.IntRange(1, 36_500), help="[default: never]")
@click.option("--json", "as_json", is_flag=True, help="Print the key and its record as JSON.")
def create(name: str, scopes: tuple[AccessScope, ...], expires_in_days: int | None, *, as_json: bool) -> None:
    """Make a key and print it. Only its digest is stored, so it cannot be printed again."""
    expires_in = timedelta(days=expires_in_days) if expires_in_days else None
    entry, key = key_file.create(_file(), name, scopes, expires_in)
    click.echo(
        f"The key {entry.id} for {entry.name} has the scopes: {', '.join(entry.scopes)}. It is shown only now:",
        err=True,
    )
    click.echo(to_json(_facts(entry) | {"key": key}) if as_json else key)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_keys(*, as_json: bool) -> None:
    """List the keys with their ids, names, scopes and dates. The keys themselves are not stored."""
    entries = key_file.read(_file())
    if as_json:
        click.echo(to_json([_facts(entry) for entry in entries]))
    elif not entries:
        click.echo("There is no key yet: barometer keys create NAME --scope predict makes one.")
    else:
        click.echo("\n".join([COLUMNS, *map(_line, entries)]))


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print its record as JSON.")
def revoke(key_id: str, *, as_json: bool) -> None:
    """Revoke a key by its id, which is the second part of the key."""
    entry = key_file.revoke(_file(), key_id)
    click.echo(to_json(_facts(entry)) if as_json else f"The key {entry.id} for {entry.name} is revoked.")


def _file() -> Path:
    settings = load_settings()
    return settings.path(settings.service.keys_file)


def _facts(entry: key_file.Key) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude={"sha256"})


def _line(entry: key_file.Key) -> str:
    expires = "never"
    if entry.expires_at:
        expires = "expired" if entry.expires_at <= datetime.now(UTC) else f"{entry.expires_at:%Y-%m-%d}"
    return f"{entry.id:<10}{','.join(entry.scopes):<22}{entry.created_at:%Y-%m-%d}  {expires:<12}{entry.name}"
