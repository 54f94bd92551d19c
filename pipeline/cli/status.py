"""`barometer status`: the services, the champion, the last runs, and what to do next."""

from typing import Any

import click

from pipeline.cli.console import aligned, to_json
from pipeline.settings import Settings, load_settings

RECENT_RUNS = 5


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(*, as_json: bool) -> None:
    """Show the services, the last runs, and what to do next.

    \b
    Examples:
      barometer status
      barometer status --json | jq .champion
    """
    found = _collect(load_settings())
    click.echo(to_json(found, default=str) if as_json else _describe(found))


def _collect(settings: Settings) -> dict[str, Any]:
    from pipeline.local.services.components import service_readiness
    from pipeline.orchestration.service_lock import close_dead_runs_if_alone, services_are_up

    readiness = service_readiness(settings)  # whether or not `make up` started the service
    found: dict[str, Any] = {
        "configuration": settings.config_file,
        "home": settings.home,
        "services": {},
        "service": {"address": settings.service.url, **readiness} if readiness else None,
        "champion": None,
        "runs": [],
        "next": "make run, which makes sample data, trains a model and publishes a week",
    }
    if settings.database.url is None and not (settings.home / "postgres").exists():
        return found  # nothing has run here yet, and a status must not create a server
    if services_are_up(settings):
        from pipeline.local.services.lifecycle import addresses

        found["services"] = addresses(settings)
    else:
        close_dead_runs_if_alone(settings)
    return {**found, **_recorded(settings)}


def _recorded(settings: Settings) -> dict[str, Any]:
    from sqlalchemy import text

    from pipeline import warehouse
    from pipeline.models import registry

    with warehouse.transaction(settings) as connection:
        query = "SELECT run_id, state, predicted, error FROM prediction_runs ORDER BY started_at DESC LIMIT :limit"
        runs = [dict(row) for row in connection.execute(text(query), {"limit": RECENT_RUNS}).mappings()]
    champion = registry.champion(settings)
    return {"champion": champion, "runs": runs, "next": _next_step(champion, runs)}


def _next_step(champion: str | None, runs: list[dict[str, Any]]) -> str:
    if champion is None:
        return "barometer train, for a first model"
    if not runs or runs[0]["state"] == "failed":
        return "barometer run" + (", after correcting what the last run reports" if runs else "")
    return "barometer report, to read the latest week; make up, for the UIs"


def _describe(found: dict[str, Any]) -> str:
    rows = [
        ("configuration", found["configuration"]),
        ("home", found["home"]),
        *(found["services"].items() or [("services", "down")]),
        ("on demand", _service_describe(found["service"])),
        ("champion", f"version {found['champion']}" if found["champion"] else "none"),
    ]
    runs = [
        f"  {run['run_id']:<15}{run['state']:<11}"
        + (run["error"] or (f"{run['predicted']:,} predicted" if run["predicted"] is not None else ""))
        for run in found["runs"]
    ]
    return "\n".join([aligned(rows, indent=""), *(["last runs:", *runs] if runs else []), f"next: {found['next']}"])


def _service_describe(service: dict[str, Any] | None) -> str:
    if service is None:
        return "down"
    serves = f", serves version {service['champion']}" if service["champion"] else ""
    wrong = "".join(f"; {problem['what']}: {problem['error']}" for problem in service["problems"])
    return f"{service['status']}{serves} ({service['address']}){wrong}"
