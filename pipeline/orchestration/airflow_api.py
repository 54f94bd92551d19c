"""A client of Airflow's REST API, for commands and for the service: trigger a DAG run, follow it, end it.

It logs in as the user `operator`. Nothing here imports Airflow, because the service, which must
stay small, uses it too. The entry point is `AirflowApi`.
"""

import threading
import time
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, BeforeValidator, Field

from pipeline.errors import RunError, ServerError
from pipeline.local.credentials import credentials
from pipeline.orchestration.airflow_environment import airflow_url
from pipeline.orchestration.events import TaskEvent, Watch
from pipeline.settings import Settings

POLL_SECONDS = 1.0
FINISHED = ("success", "failed")
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Airflow's answers to a token that is older than a day, or that was made with other secrets."""
PAGE = 100
"""Airflow returns at most this many entries at once."""


class DagRun(BaseModel):
    """A DAG run."""

    run_id: str = Field(validation_alias="dag_run_id")
    state: str
    """queued, running, success or failed."""
    conf: Annotated[dict[str, Any], BeforeValidator(lambda conf: conf or {})] = {}
    """Its params, as given."""
    note: Annotated[str, BeforeValidator(lambda note: note or "")] = ""
    queued_at: datetime | None = None
    ended_at: datetime | None = Field(None, validation_alias="end_date")


class AirflowApi:
    """A session with this home's Airflow. It logs in when first used and when its token expires.

    Several threads may share it. Every method raises a `ServerError` if Airflow does not answer as expected.
    """

    def __init__(self, settings: Settings, timeout_seconds: float = 30) -> None:
        self._settings = settings
        self._url = airflow_url(settings)
        # Airflow is asked at 127.0.0.1 by plain HTTP, so certificates, which take 80 ms to load, are of no use.
        self._client = httpx.Client(base_url=self._url, timeout=timeout_seconds, verify=False)  # noqa: S501
        self.token: str | None = None
        """The session's current token; None before the first login."""
        self._logging_in = threading.Lock()

    def close(self) -> None:
        """End the session."""
        self._client.close()

    def run(self, dag_id: str, params: dict[str, Any], result_of: str, watch: Watch) -> dict[str, Any]:
        """Trigger a DAG, follow it to its end and return the handoff of its task `result_of`.

        Raises
        ------
        RunError
            If the run failed, with the error of the stage that failed.
        """
        run_id = f"barometer__{uuid4().hex}"
        self.trigger(dag_id, run_id, params)
        address = _address(dag_id, run_id)
        seen: dict[tuple[str, int], str] = {}
        while (state := self._ask("GET", address)["state"]) not in FINISHED:
            self._report(address, seen, watch)
            time.sleep(POLL_SECONDS)
        self._report(address, seen, watch)
        if state == "failed":
            raise self.reason(dag_id, run_id)
        handoff = self.handoff(dag_id, run_id, result_of)
        assert handoff is not None, "a run that succeeded has all handoffs"
        return handoff

    def knows(self, dag_id: str) -> bool:
        """Return whether Airflow has the DAG."""
        return self._request("GET", f"/api/v2/dags/{dag_id}").is_success

    def trigger(self, dag_id: str, run_id: str, params: dict[str, Any]) -> bool:
        """Trigger a DAG and return True, or return False if a run with this id exists already."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": params}
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        answer = self._request("POST", path, json=body)
        if answer.status_code == HTTPStatus.CONFLICT:
            return False
        self._checked(answer, "POST", path)
        return True

    def dag_run(self, dag_id: str, run_id: str) -> DagRun | None:
        """Return the run with this id, if there is one."""
        address = _address(dag_id, run_id)
        answer = self._request("GET", address)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return DagRun.model_validate(self._checked(answer, "GET", address))

    def dag_runs(self, dag_id: str, prefix: str, limit: int) -> list[DagRun]:
        """Return up to `limit` runs (at most `PAGE`) whose id begins with `prefix`, latest first."""
        options: dict[str, Any] = {"limit": limit, "order_by": "-run_after"}
        options |= {"run_id_prefix_pattern": prefix} if prefix else {}
        found = self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=options)["dag_runs"]
        return [DagRun.model_validate(run) for run in found]

    def fail(self, dag_id: str, run_id: str, note: str) -> None:
        """End a run as failed, with a note that says why. Airflow stops its tasks."""
        self._ask("PATCH", _address(dag_id, run_id), json={"state": "failed", "note": note})

    def handoff(self, dag_id: str, run_id: str, task: str) -> dict[str, Any] | None:
        """Return the handoff of a task, if there is one yet."""
        return self._xcom(f"{_address(dag_id, run_id)}/taskInstances/{task}", "handoff", -1)

    def reason(self, dag_id: str, run_id: str) -> RunError:
        """Return why a run failed: the error of its stage, or where to look."""
        address = _address(dag_id, run_id)
        failed = (key for key, state in self._states(address).items() if state == "failed")
        task, shard = next(failed, ("?", -1))
        said = self._xcom(f"{address}/taskInstances/{task}", "error", shard)
        if said is not None:
            return RunError(**said)
        return RunError(
            f"The task {task} of {dag_id} failed or was stopped before its stage could say why.",
            "every stage to finish, or to say what it needs.",
            f"read the task's log: {self._url}/dags/{dag_id}/runs/{run_id}/tasks/{task}",
        )

    def _report(self, address: str, seen: dict[tuple[str, int], str], watch: Watch) -> None:
        """Report the tasks whose state differs from `seen` to `watch`, in the order they started."""
        for key, state in self._states(address).items():
            if seen.get(key) != state:
                seen[key] = state
                watch(TaskEvent(*key, state))

    def _states(self, address: str) -> dict[tuple[str, int], str]:
        """Return the states of a run's tasks, by task and shard, in the order they started."""
        states: dict[tuple[str, int], str] = {}
        total = 1
        while len(states) < total:
            options = {"limit": PAGE, "offset": len(states), "order_by": "start_date"}
            page = self._ask("GET", f"{address}/taskInstances", params=options)
            total = page["total_entries"] if page["task_instances"] else 0
            states |= {(task["task_id"], task["map_index"]): task["state"] or "none" for task in page["task_instances"]}
        return states

    def _xcom(self, task_address: str, key: str, shard: int) -> dict[str, Any] | None:
        path = f"{task_address}/xcomEntries/{key}"
        answer = self._request("GET", path, params={"map_index": shard})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        value: dict[str, Any] = self._checked(answer, "GET", path)["value"]
        return value

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._checked(self._request(method, path, **options), method, path)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        used = self.token or self._log_in(None)
        answer = self._send(method, path, used, **options)
        if answer.status_code in _REFUSED:
            answer = self._send(method, path, self._log_in(used), **options)
        return answer

    def _log_in(self, refused: str | None) -> str:
        """Return a token other than the refused one. If several threads ask, one of them logs in."""
        with self._logging_in:
            if self.token is None or self.token == refused:
                password = credentials(self._settings.home).airflow_passwords["operator"]
                body = {"username": "operator", "password": password}
                answer = self._send("POST", "/auth/token", None, json=body)
                self.token = str(self._checked(answer, "POST", "/auth/token")["access_token"])
            return self.token

    def _send(self, method: str, path: str, token: str | None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return self._client.request(method, path, headers=headers, **options)
        except httpx.TransportError as error:
            raise self._trouble(f"gives no answer ({type(error).__name__})") from None

    def _checked(self, answer: httpx.Response, method: str, path: str) -> Any:
        if answer.is_error:
            raise self._trouble(f"answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        try:
            return answer.json()
        except ValueError:
            raise self._trouble(f"answered {method} {path} with something that is not JSON") from None

    def _trouble(self, what: str) -> ServerError:
        return ServerError(
            f"Airflow at {self._url} {what}.",
            "the services of this home, up and healthy.",
            "wait a minute if they are just starting; else run make down, then make up.",
        )


def _address(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
