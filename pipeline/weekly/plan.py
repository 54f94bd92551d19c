"""Plan, the first stage: open the run's record and pin what the run uses.

Decided here, once: the week, the model version (by the as-of rule), the challenger's part, and
whether the published snapshot is reused. Every later stage only reads the `Plan`. The entry point
is `plan`.
"""

from pathlib import Path

from pipeline.code_version import code_version
from pipeline.errors import BarometerError
from pipeline.files import sha256_of_text, write_text
from pipeline.models import registry, role_history
from pipeline.models.pinned import Routing, pinned, todays_routing, with_challenger
from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Plan
from pipeline.weeks import Week


def plan(settings: Settings, *, week: Week, model: str, rebuild: bool, airflow_run_id: str) -> Plan:
    """Open a run's record and return what the run will do.

    `model` is `auto` (the as-of rule), `current`, or a version's number. With `rebuild`, the sources are
    read and the snapshot is made again, even if the week has a published one.

    Raises
    ------
    ModelError
        If no model version is in force, or the named version or the challenger of an A/B test
        cannot score.
    """
    run_id = runs.open_run(
        settings,
        week=week,
        airflow_run_id=airflow_run_id,
        code_version=code_version(),
        config_digest=config_digest(settings),
    )
    try:
        made = _decide(settings, run_id, week, model, rebuild=rebuild)
    except BarometerError as error:
        runs.fail_run(settings, run_id, str(error))
        raise
    write_text(made.folder / "plan.json", made.model_dump_json(indent=1))
    return made


def config_digest(settings: Settings) -> str:
    """Return the sha256 of the settings that shape results, without places, ports, passwords and resources."""
    return sha256_of_text(
        settings.model_dump_json(exclude={"config_file", "home", "database", "services", "resources"})
    )


def _decide(settings: Settings, run_id: str, week: Week, model: str, *, rebuild: bool) -> Plan:
    published = runs.published_run(settings, week)
    role_history.repair(settings)
    choice = registry.choose_model(
        settings, week=week, requested=model, published_version=published.model_version if published else None
    )
    if published and model == "auto":
        routing = _repeated_routing(settings, week, published)
    else:
        routing = todays_routing(settings, week, choice)
    reusable = published.snapshot_manifest if published and not rebuild else None
    return Plan(
        run_id=run_id,
        week=str(week),
        cutoff=week.cutoff(settings.zone),
        **pinned(choice, routing),
        reused_snapshot=Path(reusable) if reusable else None,
        folder=settings.home / "runs" / run_id,
    )


def _repeated_routing(settings: Settings, week: Week, repeated: runs.RunRecord) -> Routing:
    """Return the routing that was recorded for the run that is repeated."""
    recorded = repeated.routing or {}
    challenger = recorded.get("challenger")
    reason = f"as in the run {repeated.run_id}, which is repeated"
    if challenger is None:
        return Routing(reason=reason)
    routing = Routing.model_validate({**recorded, "challenger": None, "reason": reason})
    return with_challenger(settings, week, challenger["model_version"], routing, challenger["bundle_digest"])
