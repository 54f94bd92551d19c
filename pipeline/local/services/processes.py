"""The processes of a home's services: found by the mark in their environment, ended within a bound."""

import os
from collections.abc import Sequence
from contextlib import suppress

import psutil

from pipeline.files import sha256_of_text
from pipeline.settings import Settings

MARK = "BAROMETER_SERVICES"
"""Environment variable of every process of the services; children inherit it."""
SUPERVISOR = "pipeline.local.services.supervisor"
GRACE_SECONDS = 15.0


def marking(settings: Settings) -> dict[str, str]:
    """Return the environment that marks a process as one of this home's services.

    Some of Airflow's processes change their title, which overwrites what others can read of their environment unless
    they are told not to (SPT_NOENV).
    """
    return {MARK: _mark(settings), "SPT_NOENV": "1"}


def marked(settings: Settings) -> list[psutil.Process]:
    """Return the processes that carry this home's mark, but for this one and the embedded server's.

    The server is not a service: others may be using it, and `pipeline.local.postgres.embedded` knows when to stop it.
    """
    wanted = _mark(settings)
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and _mark_of(p) == wanted]


def supervisors(settings: Settings) -> list[psutil.Process]:
    """Return the home's supervisor, `pipeline.local.services.supervisor`, in a list that is empty when none runs."""
    return [process for process in marked(settings) if SUPERVISOR in _command_of(process)]


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that descend from it; nothing when it is gone."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def stop(processes: Sequence[psutil.Process], grace_seconds: float = GRACE_SECONDS) -> None:
    """End processes and wait until they are gone: those without a parent among them are asked, the rest is killed.

    Parents end their children in order (Airflow's scheduler lets its running tasks finish); who is still there after
    the grace is killed, which every stage survives.
    """
    ids = {process.pid for process in processes}
    roots = [process for process in processes if _parent_of(process) not in ids]
    for process in roots:
        _send(process, "terminate")
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        _send(process, "kill")
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)


def _mark(settings: Settings) -> str:
    return sha256_of_text(str(settings.home.resolve()))[:16]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        if process.name() == "postgres" or process.status() == psutil.STATUS_ZOMBIE:
            return None
        found: str | None = process.environ().get(MARK)
    except psutil.Error:  # gone, or another user's
        return None
    return found


def _command_of(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return command


def _parent_of(process: psutil.Process) -> int | None:
    try:
        parent: int | None = process.ppid()
    except psutil.Error:
        return None
    return parent


def _send(process: psutil.Process, signal: str) -> None:
    with suppress(psutil.NoSuchProcess):
        getattr(process, signal)()
