"""Locks that keep the services of `make up` and commands from running DAGs of a home at the same time.

A scheduler would pick up a run that a command executes, and run every task a second time. Therefore every process of
the services holds an exclusive lock on one file, inherited from the supervisor, and a command holds a shared lock on it
while it runs a DAG. The kernel releases a lock when the last process that holds it ends. A command that was killed
leaves its run as running in the tables of Airflow and of the warehouse; the next process that is alone closes it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import NullPool, create_engine, text

from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings

REASON = (
    "The process ended before a stage could say why: it was killed, or the machine was restarted."
    " Expected: every stage to finish, or to say what it needs."
    " What to do: run the week again, which is safe."
)


@contextmanager
def running_in_process(settings: Settings) -> Iterator[bool]:
    """Yield whether this process may run DAGs itself. If so, services cannot start during the block."""
    descriptor = _open(settings)
    try:
        yield _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def counted_among_runs(settings: Settings) -> Iterator[None]:
    """Count this process among those that run DAGs; first close dead runs if it is the only one.

    Use it inside `running_in_process`, so that the services do not run DAGs either.
    """
    descriptor = _open(settings, "runs.lock")
    try:
        if _try(descriptor, fcntl.LOCK_EX):
            close_dead_runs(settings)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def take_for_services(settings: Settings) -> int | None:
    """Return a descriptor with the services' lock, for them to inherit; None if it is taken."""
    descriptor = _open(settings)
    if _try(descriptor, fcntl.LOCK_EX):
        return descriptor
    os.close(descriptor)
    return None


def services_are_up(settings: Settings) -> bool:
    """Return whether any process of the services is running."""
    with running_in_process(settings) as allowed:
        return not allowed


def _open(settings: Settings, name: str = "services.lock") -> int:
    folder = settings.home / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def close_dead_runs(settings: Settings) -> None:
    """Close as failed the runs that commands left as running. A scheduler takes up its own runs again.

    The caller holds a lock that keeps every other process of this home from running a DAG itself.
    """
    from pipeline.warehouse.runs import fail_unfinished

    with create_engine(databases(settings).airflow, poolclass=NullPool).begin() as connection:
        if connection.execute(text("SELECT to_regclass('dag_run')")).scalar() is None:
            return  # Airflow has no tables yet
        dead = text(
            "UPDATE dag_run SET state = 'failed', end_date = now()"
            " WHERE state = 'running' AND triggered_by = 'TEST' RETURNING run_id"
        )
        for airflow_run_id in connection.execute(dead).scalars().all():
            fail_unfinished(settings, airflow_run_id, REASON)


def close_dead_runs_if_alone(settings: Settings) -> None:
    """Close dead runs, unless the services are up or a command is running a DAG."""
    with running_in_process(settings) as allowed:
        if allowed:
            with counted_among_runs(settings):
                pass
