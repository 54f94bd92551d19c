"""`barometer rollback`: withdraw the champion, so that the version before it returns."""

import getpass
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import aligned, to_json
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from pipeline.models.role_history import Role


@click.command()
@click.option(
    "--to", metavar="VERSION", help="The version that becomes champion. [default: the champion before this one]"
)
@click.option("--challenger", is_flag=True, help="Withdraw the challenger instead; the champion stays.")
@click.option("--reason", help="The reason, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def rollback(to: str | None, reason: str | None, *, challenger: bool, as_json: bool) -> None:
    """Withdraw the champion; the version before it returns.

    This happens at once, without gate or approval. A withdrawn version scores no further weeks. Its published weeks
    stay until they are scored again; the command prints how.

    \b
    Examples:
      barometer rollback --reason "far too gloomy about the new product"
      barometer rollback --to 2
      barometer rollback --challenger
    """
    from pipeline.promotion import rollback as rollbacks

    if challenger and to:
        raise click.BadParameter("no version takes the place of a challenger.", param_hint="'--to'")
    role: Role = "challenger" if challenger else "champion"
    done = rollbacks.rollback(load_settings(), role=role, to=to, reason=reason, asked_by=getpass.getuser())
    if as_json:
        weeks = [str(week) for week in done.weeks]
        facts = {"promotion": done.entry.model_dump(mode="json"), "weeks": weeks, "commands": done.commands}
        click.echo(to_json(facts))
        return
    out, back = done.entry.from_version, done.entry.to_version
    click.echo(f"Version {out} is withdrawn; version {back} is the champion." if back else f"Version {out} is out.")
    if done.commands:
        click.echo(f"\n{len(done.weeks)} published weeks were scored by version {out}. To score them again:")
        click.echo(aligned([(command, "") for command in done.commands]).rstrip())
