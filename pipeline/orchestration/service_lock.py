"""Locks that keep the services of `make up` and commands from running DAGs of a home at the same time.

A scheduler would pick up a run that a command executes, and run every task a second time. Therefore
every process of the services holds an exclusive lock on one file, inherited from the supervisor,
and a command holds a shared lock on it while it runs a DAG. The kernel releases a lock when the
last process that holds it ends.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.settings import Settings


@contextmanager
def running_in_process(settings: Settings) -> Iterator[bool]:
    """Yield whether this process may run DAGs itself. If so, services cannot start during the block."""
    descriptor = _open(settings)
    try:
        yield _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def counted_among_runs(settings: Settings, when_alone: Callable[[], None]) -> Iterator[None]:
    """Count this process among those that run DAGs; first call `when_alone` if it is the only one.

    Use it inside `running_in_process`, so that the services do not run DAGs either.
    """
    descriptor = _open(settings, "runs.lock")
    try:
        if _try(descriptor, fcntl.LOCK_EX):
            when_alone()
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
