"""`barometer promote`: make a version the champion or the challenger, if it passes the gate."""

import getpass
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import StageProgress, WeekArgument, aligned
from pipeline.errors import ModelError, RunError
from pipeline.orchestration.events import TaskEvent
from pipeline.promotion.handoffs import Approved, Promoted
from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.models.role_history import Role


@click.command()
@click.argument("version")
@click.option(
    "--as",
    "role",
    type=click.Choice(["champion", "challenger"]),
    default="champion",
    show_default=True,
    help="Its new role; a challenger may be worse than the champion.",
)
@click.option(
    "--from-week", type=WeekArgument(), help="The first week that it scores. [default: the last complete week]"
)
@click.option("--reason", help="The reason, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def promote(version: str, role: "Role", from_week: Week | None, reason: str | None, *, as_json: bool) -> None:
    """Make a version the champion, or the challenger.

    The version must pass the gate: its files are unchanged, its features match features.sql, nothing suggests that it
    has seen the labels, it is not worse than the champion on its test weeks nor much worse in any product or segment,
    and it is calibrated and fast. If `[promotion] approval` is on, the command then waits for an approval in Airflow.

    \b
    Examples:
      barometer promote 3 --reason "knows the new carrier"
      barometer promote 4 --as challenger
      barometer promote 3 --from-week 2026-03-02
    """
    settings = load_settings()
    start = _through_airflow if settings.promotion.approval else _locally
    promoted = start(settings, version, role, from_week, reason)
    if as_json:
        click.echo(promoted.model_dump_json(indent=1))
    else:
        click.echo(f"Version {promoted.version} is the {promoted.role} now.")
        before = f"version {promoted.from_version}" if promoted.from_version else "none"
        click.echo(aligned([("in force from", promoted.from_week), ("before", before)]))


def _locally(settings: Settings, version: str, role: "Role", from_week: Week | None, reason: str | None) -> Promoted:
    """Run the gate and promote in this process, without an approval."""
    from pipeline.promotion.gate import gate
    from pipeline.promotion.promote import promote

    user = getpass.getuser()
    gated = gate(
        settings, version=version, role=role, from_week=from_week, reason=reason, asked_by=user, airflow_run_id=None
    )
    for words in gated.checks:
        click.echo(f"  {words}", err=True)
    return promote(settings, gated, Approved(approved=True, decided_by=user))


def _through_airflow(
    settings: Settings, version: str, role: "Role", from_week: Week | None, reason: str | None
) -> Promoted:
    """Run the gate as a DAG, and wait for a person's approval."""
    from pipeline.orchestration.dag_runs import run_dag
    from pipeline.orchestration.service_lock import services_are_up

    if not services_are_up(settings):
        raise RunError(
            "A promotion needs an approval in Airflow ([promotion] approval), and Airflow is not running.",
            "the services of make up.",
            f"make up, then barometer promote {version}.",
        )
    params = {
        "version": version,
        "role": role,
        "from_week": str(from_week) if from_week else None,
        "reason": f"{reason or 'no reason given'} (asked for by {getpass.getuser()})",
    }

    def watch(event: TaskEvent) -> None:
        if event.state == "awaiting_input":
            url = f"http://127.0.0.1:{settings.services.airflow_port}/required_actions"
            click.echo(f"  waits for an approval at {url}; interrupting this command does not cancel it", err=True)
        progress.watch(event)

    with StageProgress(f"Promoting version {version}") as progress:
        answer = Approved.model_validate(run_dag(settings, "train_model", params, result_of="approve", watch=watch))
    if not answer.approved:
        raise ModelError(
            f"{answer.decided_by} rejected the promotion of version {version}: {answer.comment or 'no comment'}.",
            "an approval.",
            f"see the record: barometer models show {version}.",
        )
    return _recorded(settings, version, role)


def _recorded(settings: Settings, version: str, role: "Role") -> Promoted:
    from pipeline.models import role_history
    from pipeline.warehouse import transaction

    mine = "to_version = :version AND role = :role AND state = 'completed'"
    with transaction(settings) as connection:
        entry = role_history.entries(connection, mine, version=version, role=role)[-1]
    return Promoted(
        promotion_id=entry.promotion_id,
        version=version,
        role=role,
        from_week=str(entry.from_week),
        from_version=entry.from_version,
    )
