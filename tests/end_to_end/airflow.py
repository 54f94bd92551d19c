"""Airflow as a person meets it: its REST API, and the questions it asks."""

import random
import socket
from contextlib import ExitStack, suppress
from typing import Any, Self

import httpx

from pipeline.local.credentials import credentials
from pipeline.orchestration.airflow_environment import airflow_url
from pipeline.settings import Settings


class Api:
    """Airflow's REST API for one of its users."""

    def __init__(self, settings: Settings, user: str) -> None:
        self.client = httpx.Client(base_url=airflow_url(settings), timeout=30)
        password = credentials(settings.home).airflow_passwords[user]
        token = self.client.post("/auth/token", json={"username": user, "password": password})
        self.client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        answer = self.client.request(method, f"/api/v2/{path}", **options)
        assert answer.is_success, answer.text
        return answer.json()


def questions(settings: Settings, api: Api) -> list[dict[str, Any]]:
    """Return what a person, who needs some seconds to read it, may answer now.

    Airflow 3.3.2 loses an answer that comes before its scheduler has noted that the task waits, and asks again.
    """
    waiting = {"response_received": False, "state": "awaiting_input"}
    asked = api("GET", "dags/~/dagRuns/~/hitlDetails", params=waiting)["hitl_details"]
    log = (settings.home / "logs/airflow-scheduler.log").read_text(encoding="utf-8").splitlines()
    noted = [line for line in log if "TaskInstance Finished" in line and "state=awaiting_input" in line]
    return [
        question for question in asked if any(f"ti_id={question['task_instance']['id']}," in line for line in noted)
    ]


def answer(api: Api, question: dict[str, Any], option: str, comment: str) -> None:
    """Answer a question."""
    task = question["task_instance"]
    path = f"dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/-1/hitlDetails"
    api("PATCH", path, json={"chosen_options": [option], "params_input": {"comment": comment}})


def free_ports(number: int) -> list[int]:
    """Return free ports below the range from which the system assigns ports, so that no other process takes them."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < number:
            port = random.randrange(20_000, 32_768)
            with suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
    return found
