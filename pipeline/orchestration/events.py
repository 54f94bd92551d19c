"""Progress events of a DAG run. Kept free of imports so that listeners do not import Airflow."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TaskEvent:
    """A change of a task's state."""

    task: str
    shard: int
    """-1 if the task is not mapped."""
    state: str
    """As Airflow names it: running, success, failed, up_for_retry…"""
    error: BaseException | None = None


Watch = Callable[[TaskEvent], None]
