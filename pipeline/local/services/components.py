"""The components of `make up`: their commands and environments, and their health checks."""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipeline.local.postgres.databases import databases
from pipeline.orchestration.airflow_api import AirflowApi
from pipeline.orchestration.airflow_environment import airflow_url
from pipeline.settings import Settings

SCHEDULER = "airflow-scheduler"


@dataclass(frozen=True)
class Component:
    """A process that the supervisor keeps running."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def components(settings: Settings) -> list[Component]:
    """Return the components in the order of their start."""
    mlflow_port = str(settings.services.mlflow_port)
    mlflow = {
        # In the environment, because other users can read a command's arguments.
        "MLFLOW_BACKEND_STORE_URI": databases(settings).mlflow,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(settings.home / "mlflow"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WORKERS": "1",
    }
    return [
        Component("airflow-api-server", python("airflow", "api-server")),
        Component(SCHEDULER, python("airflow", "scheduler", "--skip-serve-logs")),
        Component("airflow-dag-processor", python("airflow", "dag-processor")),
        Component("airflow-triggerer", python("airflow", "triggerer", "--skip-serve-logs")),
        Component("mlflow", python("mlflow", "server", "--host", "127.0.0.1", "--port", mlflow_port), mlflow),
        Component("service", [str(Path(sys.executable).with_name("barometer")), "serve"]),
    ]


def health(settings: Settings) -> dict[str, Callable[[], bool]]:
    """Return a health check for each service, by its name for people."""
    return {
        "Airflow": lambda: _airflow_is_healthy(settings),
        "MLflow": lambda: _succeeds(f"http://127.0.0.1:{settings.services.mlflow_port}/health"),
        # Liveness is enough: before the first model the service is up but not ready.
        "service": lambda: _succeeds(f"{settings.service.url}/healthz"),
    }


def service_readiness(settings: Settings) -> dict[str, Any] | None:
    """Return the service's readiness (`Current.readiness`); None if it does not answer."""
    answer = _answer(f"{settings.service.url}/readyz")
    try:
        found = answer.json() if answer is not None else None
    except ValueError:  # another program has the port
        return None
    return found if isinstance(found, dict) and "status" in found else None


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def _airflow_is_healthy(settings: Settings) -> bool:
    """Return whether all of Airflow's components are healthy and the DAGs can be triggered."""
    parts = _answer(f"{airflow_url(settings)}/api/v2/monitor/health")
    if parts is None or not parts.is_success or not all(part["status"] == "healthy" for part in parts.json().values()):
        return False
    with closing(AirflowApi(settings)) as api:
        return all(map(api.knows, ("weekly_predictions", "train_model", "score_file")))


def _succeeds(url: str) -> bool:
    answer = _answer(url)
    return answer is not None and answer.is_success


def _answer(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, timeout=5)
    except httpx.TransportError:
        return None
