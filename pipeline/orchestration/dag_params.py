"""What a stage takes from its DAG run: params, the week, who asked. DAG files bind it to arguments.

Each is a function of the settings and Airflow's context (Airflow itself is not imported here).
"""

import getpass
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.settings import Settings
from pipeline.weeks import Week, resolve_week

Context = Mapping[str, Any]
Argument = Callable[[Settings, Any], Any]
"""From the settings and the run's context to the value of an argument."""


def param(name: str, kind: Callable[[Any], Any] | None = None) -> Argument:
    """Return the argument for a param of the run. `kind` converts it, unless it is empty: then None."""

    def value(_settings: Settings, context: Context) -> Any:
        given = context["params"][name]
        if kind is None:
            return given
        return kind(given) if given else None

    return value


def week_of_run(settings: Settings, context: Context) -> Week:
    """Return the run's week: the param `week`, else the logical date's, else the last complete one."""
    run = context["dag_run"]
    logical = run.logical_date
    by_hand = run.run_type == "manual"
    if logical and by_hand and Week.containing(logical, settings.zone).cutoff(settings.zone) > run.run_after:
        logical = None  # the UI's form fills in the present, which names no week that has ended
    return resolve_week(context["params"]["week"], logical, run.run_after, settings.zone)


def airflow_run_id(_settings: Settings, context: Context) -> str:
    """Return the id of the DAG run."""
    return str(context["run_id"])


def asked_by(_settings: Settings, context: Context) -> str:
    """Return who triggered the run."""
    user = context["dag_run"].triggering_user_name
    return getpass.getuser() if is_in_process(context) else user or "unknown"


def is_in_process(context: Context) -> bool:
    """Return whether the run is one of `run_in_process`, which cannot ask a person."""
    return bool(context["dag_run"].triggering_user_name == "dag_test")  # as DAG.test writes
