"""What a stage function may ask for of its run by a parameter's name: the week, what the params say, who asked.

The adapter passes these in beside the handoffs. The context is Airflow's, which is not imported here. The one thing to
use is `FACTS`.
"""

import getpass
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.settings import Settings
from pipeline.weeks import Week, resolve_week

Context = Mapping[str, Any]
HANDOFF = "handoff"
"""XCom key of a stage's result."""


def _week(settings: Settings, context: Context) -> Week:
    run = context["dag_run"]
    logical = run.logical_date
    by_hand = run.run_type == "manual"
    if logical and by_hand and Week.containing(logical, settings.zone).cutoff(settings.zone) > run.run_after:
        logical = None  # the UI's form fills in the present, which names no week that has ended
    return resolve_week(context["params"]["week"], logical, run.run_after, settings.zone)


def _as_of(_settings: Settings, context: Context) -> Week | None:
    named = context["params"]["as_of"]
    return Week.parse(named) if named else None


def _pipeline(_settings: Settings, context: Context) -> Path | None:
    named = context["params"]["pipeline"]
    return Path(named) if named else None


def _version(_settings: Settings, context: Context) -> str:
    """Return the version that the params name, else the one that this run has registered."""
    named: str | None = context["params"]["version"]
    return named or str(context["ti"].xcom_pull(task_ids="register", key=HANDOFF)["version"])


def _from_week(_settings: Settings, context: Context) -> Week | None:
    named = context["params"]["from_week"]
    return Week.parse(named) if named else None


def _asked_by(_settings: Settings, context: Context) -> str:
    """Return who triggered the run."""
    user = context["dag_run"].triggering_user_name
    return getpass.getuser() if is_in_process(context) else user or "unknown"


def is_in_process(context: Context) -> bool:
    """Return whether the run is one of `run_in_process`, where nobody can answer it."""
    return bool(context["dag_run"].triggering_user_name == "dag_test")  # as DAG.test writes


FACTS: dict[str, Callable[[Settings, Context], Any]] = {
    "week": _week,
    "as_of": _as_of,
    "pipeline": _pipeline,
    "model": lambda _settings, context: context["params"]["model"],
    "rebuild": lambda _settings, context: context["params"]["rebuild"],
    "airflow_run_id": lambda _settings, context: context["run_id"],
    "version": _version,
    "role": lambda _settings, context: context["params"]["role"],
    "from_week": _from_week,
    "reason": lambda _settings, context: context["params"]["reason"],
    "asked_by": _asked_by,
    "file": lambda _settings, context: context["params"]["file"],
    "uri": lambda _settings, context: context["params"]["uri"],
    "file_format": lambda _settings, context: context["params"]["format"],
}
"""What a stage function may ask for by a parameter's name, beside handoffs."""
