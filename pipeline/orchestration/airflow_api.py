"""Airflow's REST API, as the command line needs it: trigger a DAG, follow it, say why it failed.

The entry point is `AirflowApi`; it logs in as the user `operator`.
"""

import time
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from pipeline.credentials import credentials
from pipeline.errors import RunError, ServerError
from pipeline.orchestration.airflow_environment import airflow_url
from pipeline.orchestration.dag_runs import TaskEvent, Watch
from pipeline.settings import Settings

POLL_SECONDS = 1.0
FINISHED = ("success", "failed")


class AirflowApi:
    """A session with the REST API of the services of this home.

    Raises
    ------
    ServerError
        If they do not answer, or are another home's.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = airflow_url(settings)
        self._client = httpx.Client(base_url=self._url, timeout=30)
        password = credentials(settings.home).airflow_passwords["operator"]
        token = self._ask("POST", "/auth/token", json={"username": "operator", "password": password})["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def run(self, dag_id: str, params: dict[str, Any], result_of: str, watch: Watch) -> dict[str, Any]:
        """Trigger a DAG, follow it to its end and return the handoff of its task `result_of`.

        Raises
        ------
        RunError
            If it failed: with what its stage said.
        """
        run_id = f"barometer__{uuid4().hex}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": params}
        self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        address = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        seen: dict[tuple[str, int], str] = {}
        while (state := self._ask("GET", address)["state"]) not in FINISHED:
            self._tell(address, seen, watch)
            time.sleep(POLL_SECONDS)
        self._tell(address, seen, watch)
        if state == "failed":
            raise self._reason(dag_id, address, seen)
        handoff: dict[str, Any] = self._ask("GET", f"{address}/taskInstances/{result_of}/xcomEntries/handoff")["value"]
        return handoff

    def knows(self, dag_id: str) -> bool:
        """Return whether the DAG is there to be triggered."""
        return self._client.get(f"/api/v2/dags/{dag_id}").is_success

    def _tell(self, address: str, seen: dict[tuple[str, int], str], watch: Watch) -> None:
        """Tell `watch` of the tasks whose state is another than in `seen`, in the order they started."""
        tasks = self._ask("GET", f"{address}/taskInstances", params={"limit": 1000, "order_by": "start_date"})
        for task in tasks["task_instances"]:
            key = (task["task_id"], task["map_index"])
            state = task["state"] or "none"
            if seen.get(key) != state:
                seen[key] = state
                watch(TaskEvent(*key, state))

    def _reason(self, dag_id: str, address: str, seen: dict[tuple[str, int], str]) -> RunError:
        task, shard = next((key for key, state in seen.items() if state == "failed"), ("?", -1))
        said = self._client.get(f"{address}/taskInstances/{task}/xcomEntries/error", params={"map_index": shard})
        if said.is_success:
            return RunError(**said.json()["value"])
        return RunError(
            found=f"The task {task} of {dag_id} failed or was stopped, without its stage's word.",
            expected="every stage to finish, or to say what it needs.",
            do=f"read the task's log: {self._url}/dags/{dag_id}/runs/{address.rsplit('/', 1)[1]}/tasks/{task}",
        )

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._trouble(f"gives no answer ({type(error).__name__})") from None
        if answer.is_error:
            raise self._trouble(f"answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer.json()

    def _trouble(self, what: str) -> ServerError:
        return ServerError(
            found=f"Airflow at {self._url} {what}.",
            expected="the services of this home, up and healthy.",
            do="wait a minute if they are just starting; else run make down, then make up.",
        )
