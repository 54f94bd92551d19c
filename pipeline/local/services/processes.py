"""The processes of a home's services: found by a mark in their environment, and ended within a time limit."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from pipeline.files import sha256_of_text

MARK = "BAROMETER_SERVICES"
"""Environment variable of every process of the services; child processes inherit it."""
SUPERVISOR = "pipeline.local.services.supervisor"
GRACE_SECONDS = 15.0


def start(command: list[str], environment: dict[str, str], log: Path, lock: int) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which inherits the lock and appends its output to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )


def marking(home: Path) -> dict[str, str]:
    """Return the environment variables that mark a process as one of this home's services.

    Some of Airflow's processes change their title, which hides their environment from others unless SPT_NOENV is set.
    """
    return {MARK: _mark(home), "SPT_NOENV": "1"}


def marked(home: Path) -> list[psutil.Process]:
    """Return the processes with this home's mark, except this process and the embedded server's.

    The server is not a service: others may be using it, and `pipeline.local.postgres.embedded` knows when to stop it.
    """
    wanted = _mark(home)
    return [
        process
        for process in psutil.process_iter(["name", "status", "environ", "cmdline"])  # None for other users' processes
        if (process.info["environ"] or {}).get(MARK) == wanted
        and process.pid != os.getpid()
        and process.info["name"] != "postgres"
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def supervisors(home: Path) -> list[psutil.Process]:
    """Return the home's supervisor, `pipeline.local.services.supervisor`, or an empty list."""
    return [process for process in marked(home) if SUPERVISOR in (process.info["cmdline"] or [])]


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants, or an empty list if it has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def stop(processes: Sequence[psutil.Process], grace_seconds: float = GRACE_SECONDS) -> None:
    """End processes and wait until they are gone.

    Processes without a parent among them are asked to end, and end their children in order: Airflow's scheduler lets
    its running tasks finish. Any process left after the grace is killed, which every stage survives.
    """
    ids = {process.pid for process in processes}
    for process in reversed(processes):  # children first, while their parents live
        with suppress(psutil.Error):
            if process.ppid() not in ids:
                process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)


def _mark(home: Path) -> str:
    return sha256_of_text(str(home.resolve()))[:16]
