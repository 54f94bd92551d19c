"""DAG runs for commands: through the services of `make up` if they are running, else in this process.

Either way, Airflow runs the DAG. The entry point is `run_dag`.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import BarometerError, RunError
from pipeline.orchestration import service_lock
from pipeline.orchestration.airflow_environment import airflow_environment
from pipeline.orchestration.events import TaskEvent, Watch
from pipeline.settings import Settings


def run_dag(settings: Settings, dag_id: str, params: dict[str, Any], *, result_of: str, watch: Watch) -> dict[str, Any]:
    """Run a DAG to its end and return the handoff of its task `result_of`, as JSON.

    Raises
    ------
    BarometerError
        The error of the stage that failed, or a `RunError` if no stage could raise one.
    """
    with service_lock.running_in_process(settings) as allowed:
        if allowed:
            with service_lock.counted_among_runs(settings):
                return _run_here(settings, dag_id, params, result_of, watch)
    from pipeline.orchestration.airflow_api import AirflowApi

    with closing(AirflowApi(settings)) as api:
        return api.run(dag_id, params, result_of, watch)


def _run_here(settings: Settings, dag_id: str, params: dict[str, Any], result_of: str, watch: Watch) -> dict[str, Any]:
    # Airflow and Great Expectations make millions of objects that stay. By default the garbage collector looks through
    # them again and again, which takes a sixth of a small run.
    gc.set_threshold(50_000, 20)
    os.environ.update(airflow_environment(settings))
    log_file = settings.home / f"airflow/logs/in_process/{dag_id}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"
    failures: list[TaskEvent] = []

    def note(event: TaskEvent) -> None:
        if event.state == "failed":
            failures.append(event)
        watch(event)

    with _output_to(log_file):
        from pipeline.orchestration.airflow_in_process import run_in_process

        handoff = run_in_process(dag_id, params, result_of, note)
    if handoff is None:
        raise _reason(failures, dag_id, log_file)
    return handoff


def _reason(failures: list[TaskEvent], dag_id: str, log_file: Path) -> BaseException:
    error = failures[0].error if failures else None
    if isinstance(error, BarometerError | KeyboardInterrupt):
        return error
    task = f"The task {failures[0].task} of {dag_id}" if failures else dag_id
    return RunError(
        f"{task} failed: {type(error).__name__}: {error}.",
        "every stage to finish, or to say what it needs.",
        f"look for the traceback in {log_file}; running the week again is safe.",
    )


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Redirect the output of this process, its libraries and subprocesses to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
