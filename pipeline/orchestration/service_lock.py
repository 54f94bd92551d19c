"""Who may run DAGs of a home: the services of `make up`, or commands in their own process, never both.

A scheduler would pick up a run that a command executes, and run every task a second time. So every process of the
services holds an exclusive lock on one file, inherited from the supervisor, and a command shares it while it
runs a DAG. The kernel drops the lock with the last process that holds it, however that process ended.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.settings import Settings


@contextmanager
def running_in_process(settings: Settings) -> Iterator[bool]:
    """Yield whether this process may run DAGs itself; services cannot start meanwhile."""
    descriptor = _open(settings)
    try:
        yield _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def counted_among_runs(settings: Settings, when_alone: Callable[[], None]) -> Iterator[None]:
    """Be known, for the block, as a process that runs DAGs itself; call `when_alone` before if there is no other.

    Only inside `running_in_process`, so that the services do not run any either.
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
    """Return a descriptor that holds the services' lock, to be inherited by them; None if it cannot be had."""
    descriptor = _open(settings)
    if _try(descriptor, fcntl.LOCK_EX):
        return descriptor
    os.close(descriptor)
    return None


def services_are_up(settings: Settings) -> bool:
    """Return whether any process of the services lives."""
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
