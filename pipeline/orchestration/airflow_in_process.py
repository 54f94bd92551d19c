"""A whole DAG run in this process, one task after the other; for commands, without Airflow's services.

The entry point is `run_in_process`. `airflow_environment` must be in force before this module is imported.
"""

from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk import DAG, DagRunState
from airflow.sdk.configuration import conf

from pipeline.errors import RunError
from pipeline.orchestration.airflow_adapter import HANDOFF, Refused
from pipeline.orchestration.events import TaskEvent, Watch


def run_in_process(dag_id: str, params: dict[str, Any], result_of: str, watch: Watch) -> dict[str, Any] | None:
    """Run a DAG and return the handoff of its task `result_of`, or None if the run failed.

    `watch` is called with every change of a task's state.
    """
    from airflow.sdk.listener import get_listener_manager

    migrate()
    forget_older_apis()
    dag = load_dag(dag_id)
    listener = _Listener(watch)
    get_listener_manager().add_listener(listener)  # type: ignore[no-untyped-call]
    try:
        run = dag.test(run_conf=params)
    finally:
        get_listener_manager().pm.unregister(listener)
    return handoff_of(run.run_id, dag_id, result_of) if run.state == DagRunState.SUCCESS else None


def migrate() -> None:
    """Bring Airflow's database up to date. The check is quick; the upgrade costs seconds."""
    from airflow.utils import db

    try:
        db.check_migrations(1)  # type: ignore[no-untyped-call]
    except TimeoutError:
        db.upgradedb()


def forget_older_apis() -> None:
    """Make Airflow's API for tasks without its older versions, whose routes cost two seconds and are never asked.

    Two older ones stay: a route that the newest lacks must be in one, and the oldest may have no changes.
    """
    from airflow.api_fastapi.execution_api.versions import bundle
    from cadwyn import Version

    newest, before, oldest, *_ = bundle.versions
    bundle.versions = (newest, before, Version(oldest.value))


def load_dag(dag_id: str) -> DAG:
    """Return a DAG of Airflow's folder."""
    from airflow.dag_processing.dagbag import BundleDagBag

    folder = conf.get("core", "dags_folder")
    bag = BundleDagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags-folder")
    if dag_id not in bag.dags:
        raise RunError(
            f"The DAG {dag_id} cannot be loaded: {bag.import_errors or 'it is not in ' + folder}.",
            "a DAG file that imports.",
            "correct the file, or remove it.",
        )
    return bag.dags[dag_id]


def handoff_of(run_id: str, dag_id: str, task_id: str) -> dict[str, Any]:
    """Return the handoff of a task of a DAG run."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key=HANDOFF)
        handoff: dict[str, Any] = XComModel.deserialize_value(session.scalars(query).one())
    return handoff


class _Listener:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        self._watch(TaskEvent(task_instance.task_id, task_instance.map_index, "running"))

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self._watch(TaskEvent(task_instance.task_id, task_instance.map_index, "success"))

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any, error: BaseException | None) -> None:
        cause = error.error if isinstance(error, Refused) else error
        self._watch(TaskEvent(task_instance.task_id, task_instance.map_index, task_instance.state.value, cause))
