"""Start and stop of the services of one machine: Airflow, MLflow's UI and `barometer serve`.

`up` starts a detached supervisor (`pipeline.local.services.supervisor`), which starts the components and restarts those
that end. `down` ends all processes, which carry the home's mark in their environment, so it finds them even after a
supervisor was killed. The entry points are `up`, `down` and `addresses`.
"""

import os
import socket
import sys
import time
from collections.abc import Callable

from pipeline.errors import ServerError
from pipeline.local.postgres import embedded
from pipeline.local.postgres.databases import databases
from pipeline.local.services.components import health
from pipeline.local.services.processes import GRACE_SECONDS, SUPERVISOR, marked, marking, start, stop, supervisors
from pipeline.orchestration import service_lock
from pipeline.orchestration.airflow_environment import airflow_environment, airflow_url
from pipeline.settings import Settings

READY_SECONDS = 120.0
POLL_SECONDS = 0.5


def up(settings: Settings, on_progress: Callable[[str], None] = lambda _: None) -> None:
    """Start the services of this home and return when all are healthy; do nothing if they are running.

    `on_progress` receives a line for each service that has become healthy.

    Raises
    ------
    ServerError
        If a port is taken, another process runs a DAG, or a component does not become healthy.
    """
    if not supervisors(settings.home):
        stop(marked(settings.home))  # left behind by a killed supervisor
        _start(settings)
    _await_health(settings, on_progress)


def down(settings: Settings) -> int:
    """Stop the services of this home and the embedded server; return how many processes of services were ended."""
    ended = marked(settings.home)
    stop(supervisors(settings.home), grace_seconds=3 * GRACE_SECONDS)  # up to two for its components
    stop(marked(settings.home))
    if settings.database.url is None and (settings.home / "postgres").exists():
        embedded.attach(settings.home, run_as=settings.database.run_as, port=settings.database.port)
        embedded.detach(settings.home, run_as=settings.database.run_as)  # the last process that leaves stops it
    return len(ended)


def addresses(settings: Settings) -> dict[str, str]:
    """Return the address of each service, by its name for people."""
    found = {
        "Airflow": airflow_url(settings),
        "MLflow": f"http://127.0.0.1:{settings.services.mlflow_port}",
        "predictions and reports": settings.service.url,
    }
    analyst = databases(settings).analyst
    return {**found, "warehouse for BI tools": analyst} if analyst else found


def _start(settings: Settings) -> None:
    lock = service_lock.take_for_services(settings)
    if lock is None:
        raise ServerError(
            f"Another process runs a DAG in the home {settings.home}.",
            "no such process, because the scheduler would run its tasks a second time.",
            "wait until barometer run, backfill or train has ended, then try again.",
        )
    try:
        check_ports(settings)
        logs = settings.home / "logs"
        logs.mkdir(exist_ok=True)
        for log in logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
        environment = {**airflow_environment(settings), **marking(settings.home)}
        start([sys.executable, "-m", SUPERVISOR, str(lock)], environment, logs / "supervisor.log", lock)
    finally:
        os.close(lock)


def _await_health(settings: Settings, on_progress: Callable[[str], None]) -> None:
    waiting = health(settings)
    started = time.monotonic()
    while waiting:
        for name in [name for name, check in waiting.items() if check()]:
            del waiting[name]
            on_progress(f"{name} is up after {time.monotonic() - started:.0f} s")
        if waiting and (not supervisors(settings.home) or time.monotonic() - started > READY_SECONDS):
            down(settings)
            raise ServerError(
                f"{', '.join(waiting)} did not become healthy.",
                f"all services to answer within {READY_SECONDS:.0f} s.",
                f"read the logs in {settings.home / 'logs'}, supervisor.log first; then try again.",
            )
        time.sleep(POLL_SECONDS if waiting else 0)


def check_ports(settings: Settings) -> None:
    """Refuse a port that another program uses, or that two settings name."""
    ports = {f"services.{name}": ("127.0.0.1", port) for name, port in settings.services.model_dump().items()}
    ports["service.port"] = (settings.service.host, settings.service.port)
    taken: dict[int, str] = {}
    for setting, (host, port) in ports.items():
        reason = f"{taken[port]} names it too" if port in taken else _refusal(host, port)
        if reason:
            raise ServerError(
                f"Port {port} on {host} cannot be used: {reason}.",
                f"a free port for {setting}.",
                f"stop what uses it, or choose another: BAROMETER__{setting.upper().replace('.', '__')}={port + 1000}.",
            )
        taken[port] = setting


def _refusal(host: str, port: int) -> str | None:
    """Return why nothing can listen on the port, or None if something can."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        return (error.strerror or str(error)).partition(" (")[0]
    return None
