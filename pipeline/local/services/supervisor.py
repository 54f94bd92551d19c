"""The supervisor of `make up`: starts the components, restarts those that end, and ends all when it is stopped.

`lifecycle` starts it as `python -m pipeline.local.services.supervisor LOCK`, detached and with Airflow's environment.
LOCK is the descriptor of the services' lock, which every component inherits.
"""

import logging
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import warehouse
from pipeline.local.postgres.databases import databases
from pipeline.local.services.components import SCHEDULER, Component, components, python
from pipeline.local.services.processes import family, marked, start, stop
from pipeline.orchestration.service_lock import close_dead_runs
from pipeline.settings import Settings, load_settings

CHECK_SECONDS = 1.0
QUICK_SECONDS = 60.0
"""If a component ends sooner than this after its start …"""
QUICK_DEATHS = 3
"""… this many times in a row, another start will not help."""

log = logging.getLogger("supervisor")


@dataclass
class _Kept:
    """A component and its current process."""

    component: Component
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    quick_deaths: int = 0


def main() -> None:
    """Run the components until SIGTERM, or until one of them keeps ending (exit code 1)."""
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
        stop(marked(settings.home))
        log.info("stopped")
    sys.exit(0 if healthy else 1)


def _prepare(settings: Settings, lock: int) -> None:
    """Upgrade the warehouse's and Airflow's tables, and close the runs of commands that were killed.

    Otherwise the scheduler would continue such a run, perhaps weeks later. We hold the lock, so no run is alive.
    """
    warehouse.engine(settings)
    databases(settings)  # also keeps the embedded server running while this process lives
    subprocess.run(python("airflow", "db", "migrate"), check=True, pass_fds=[lock])
    close_dead_runs(settings)


def keep_running(settings: Settings, lock: int, stopping: threading.Event) -> bool:
    """Run the components until `stopping` is set (True), or until one of them keeps ending (False); then end all."""
    logs = settings.home / "logs"
    kept = [_Kept(component, _start(logs, component, lock)) for component in components(settings)]
    try:
        while not stopping.wait(CHECK_SECONDS):
            for one in [one for one in kept if one.process.poll() is not None]:
                lived = time.monotonic() - one.started
                one.quick_deaths = one.quick_deaths + 1 if lived < QUICK_SECONDS else 0
                log.error("%s ended with code %s after %.0f s", one.component.name, one.process.returncode, lived)
                if one.quick_deaths >= QUICK_DEATHS:
                    log.error("%s cannot be kept running; see its log. Stopping everything.", one.component.name)
                    return False
                one.process, one.started = _start(logs, one.component, lock), time.monotonic()
    finally:
        # The scheduler first, because its running tasks need the API server to finish.
        stop([p for one in kept if one.component.name == SCHEDULER for p in family(one.process.pid)])
    return True


def _start(logs: Path, component: Component, lock: int) -> subprocess.Popen[bytes]:
    log.info("starting %s", component.name)
    return start(component.command, component.environment, logs / f"{component.name}.log", lock)


if __name__ == "__main__":
    main()
