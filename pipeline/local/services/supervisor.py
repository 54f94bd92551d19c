"""Keeps the components of `make up` running: starts them, restarts what dies, ends them all when it is told to stop.

Run by `pipeline.local.services` as `python -m pipeline.local.services.supervisor LOCK`, detached, with Airflow's
environment; LOCK is the
descriptor that holds the services' lock, handed on to every component.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from pipeline import warehouse
from pipeline.local.postgres.databases import databases
from pipeline.local.services.components import SCHEDULER, Component, components, python
from pipeline.local.services.processes import family, marked, stop
from pipeline.orchestration.dead_runs import close_dead_runs
from pipeline.settings import Settings, load_settings

CHECK_SECONDS = 1.0
QUICK_SECONDS = 60.0
"""A component that dies sooner than this after its start died quickly …"""
QUICK_DEATHS = 3
"""… and after so many quick deaths in a row something is wrong that another start will not mend."""

log = logging.getLogger("supervisor")


@dataclass
class _Kept:
    """A component and its current process."""

    component: Component
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    quick_deaths: int = 0


def main() -> None:
    """Run the components until SIGTERM, or until one of them cannot be kept running (exit code 1)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    lock = int(sys.argv[1])
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    settings = load_settings()
    try:
        _prepare(settings, lock)
        healthy = keep_running(settings, lock, stopping)
    finally:
        stop(marked(settings))
        log.info("stopped")
    sys.exit(0 if healthy else 1)


def _prepare(settings: Settings, lock: int) -> None:
    """Bring the warehouse's and Airflow's tables up to date; close runs that died with the command that executed them.

    Otherwise the scheduler would take such a run up again, perhaps weeks later. None can be alive: we hold the lock.
    """
    warehouse.engine(settings)
    databases(settings)  # also keeps the embedded server for as long as this process lives
    subprocess.run(python("airflow", "db", "migrate"), check=True, pass_fds=[lock])
    close_dead_runs(settings)


def keep_running(settings: Settings, lock: int, stopping: threading.Event) -> bool:
    """Run the components until `stopping` is set (True), or until one of them keeps dying (False); end them all."""
    kept = [_Kept(component, _start(settings, component, lock)) for component in components(settings)]
    try:
        return _restart_what_dies(settings, lock, kept, stopping)
    finally:
        # The scheduler before the others: its running tasks need the API server to end well.
        stop([p for one in kept if one.component.name == SCHEDULER for p in family(one.process.pid)])


def _restart_what_dies(settings: Settings, lock: int, kept: list[_Kept], stopping: threading.Event) -> bool:
    while not stopping.wait(CHECK_SECONDS):
        for one in kept:
            if one.process.poll() is None:
                continue
            lived = time.monotonic() - one.started
            one.quick_deaths = one.quick_deaths + 1 if lived < QUICK_SECONDS else 0
            log.error("%s ended with code %s after %.0f s", one.component.name, one.process.returncode, lived)
            if one.quick_deaths >= QUICK_DEATHS:
                log.error("%s cannot be kept running; see its log. Stopping everything.", one.component.name)
                return False
            one.process, one.started = _start(settings, one.component, lock), time.monotonic()
    return True


def _start(settings: Settings, component: Component, lock: int) -> subprocess.Popen[bytes]:
    log.info("starting %s", component.name)
    with (settings.home / f"logs/{component.name}.log").open("ab") as output:
        return subprocess.Popen(
            component.command,
            env={**os.environ, **component.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )


if __name__ == "__main__":
    main()
