"""`barometer rollback`: the champion is withdrawn, the version before it is back."""

import getpass
import json
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import aligned
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from pipeline.models.history import Role


@click.command()
@click.option("--to", metavar="VERSION", help="The version to put back. [default: the champion before this one]")
@click.option("--challenger", is_flag=True, help="Take the challenger out instead; the champion stays.")
@click.option("--reason", help="Why, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def rollback(to: str | None, reason: str | None, *, challenger: bool, as_json: bool) -> None:
    """Withdraw the champion and put the version before it back.

    At once: no gate, no approval. A withdrawn version scores no further week. The weeks it has published stay until
    they are scored again; the commands for that are printed.

    \b
    Examples:
      barometer rollback --reason "far too gloomy about the new product"
      barometer rollback --to 2
      barometer rollback --challenger
    """
    from pipeline.promotion import rollback as rollbacks

    if challenger and to:
        raise click.BadParameter("a challenger has no version to be put back.", param_hint="'--to'")
    role: Role = "challenger" if challenger else "champion"
    done = rollbacks.rollback(load_settings(), role=role, to=to, reason=reason, asked_by=getpass.getuser())
    if as_json:
        weeks = [str(week) for week in done.weeks]
        facts = {"promotion": done.entry.model_dump(mode="json"), "weeks": weeks, "commands": done.commands}
        click.echo(json.dumps(facts, indent=1))
        return
    out, back = done.entry.from_version, done.entry.to_version
    click.echo(f"Version {out} is withdrawn; version {back} is the champion." if back else f"Version {out} is out.")
    if done.commands:
        click.echo(f"\n{len(done.weeks)} published weeks were scored by version {out}. To score them again:")
        click.echo(aligned([(command, "") for command in done.commands]).rstrip())
