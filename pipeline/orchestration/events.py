"""What whoever follows a DAG run is told. Nothing else is imported here, so that nobody who follows imports Airflow."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TaskEvent:
    """A task changed its state."""

    task: str
    shard: int
    """-1 when the task is not mapped."""
    state: str
    """As Airflow names it: running, success, failed, up_for_retry…"""
    error: BaseException | None = None


Watch = Callable[[TaskEvent], None]
