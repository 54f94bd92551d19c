"""Promotions and rollbacks while clients ask without a pause: no request fails, every number is its version's."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.promotion.handoffs import Approved
from pipeline.promotion.promote import promote
from pipeline.promotion.rollback import rollback
from pipeline.service.instances.signature import Values
from pipeline.settings import Settings
from pipeline.settings.model import Routing
from pipeline.warehouse import transaction
from tests.promotion.conftest import passed
from tests.service.asking import as_object
from tests.service.raw import Connection, predict
from tests.service.started import Started, started
from tests.service.versions import answers_of, standing
from tests.waiting import until

ROWS: list[Values] = [
    (
        float(number % 60 - 5),
        None if number % 7 == 0 else number / 3,
        float(number % 2),
        [*"abc", None, "new"][number % 5],
    )
    for number in range(150)
]
"""More than are scored on the event loop, so that threads score them too."""
SIZES = (1, 1, 3, len(ROWS))
"""Instances of a request, for each client."""
YES = Approved(approved=True, decided_by="approver")


class Client(threading.Thread):
    """Asks again and again for the same rows, and compares each number with what its version says in batch scoring."""

    def __init__(self, port: int, rows: int, expected: dict[str, list[float]]) -> None:
        super().__init__(daemon=True)
        instances = [as_object(values) | {"customer_id": f"c{number}"} for number, values in enumerate(ROWS[:rows])]
        self._connection = Connection(port)
        self._asked = predict(json.dumps({"instances": instances}).encode())
        self._rows, self._expected = rows, expected
        self.stopping = threading.Event()
        self.wrong: list[object] = []
        self.requests = 0
        """Answered ones."""
        self.answered: Counter[tuple[str, str]] = Counter()
        """Requests by version and role."""

    def run(self) -> None:
        with self._connection:
            try:
                while not self.stopping.is_set() and not self.wrong:
                    self._ask()
            except Exception as error:  # noqa: BLE001 - a failed request
                self.wrong.append(error)

    def _ask(self) -> None:
        reply = self._connection.send(self._asked).reply()
        content = json.loads(reply.body)
        if reply.status != 200 or len(content["predictions"]) != self._rows:
            self.wrong.append((reply.status, content))
            return
        versions = {(found["role"], found["model_version"]) for found in content["predictions"]}
        if len(versions) > len({role for role, _ in versions}):
            self.wrong.append(versions)  # from its first row to its last a request is answered by the same versions
        for number, found in enumerate(content["predictions"]):
            if abs(found["satisfaction"] - self._expected[found["model_version"]][number]) > 1e-9:
                self.wrong.append((number, found))
        self.answered.update(versions)
        self.requests += 1


@pytest.fixture
def settings(registered: Settings) -> Iterator[Settings]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # the clients' threads take turns with the one that promotes
    standing(registered, "1")
    yield registered
    standing(registered, "1")
    sys.setswitchinterval(interval)


@pytest.mark.parametrize(("mode", "rounds"), [("off", 5), ("ab", 2)])
def test_promotions_and_rollbacks_under_load(settings: Settings, mode: str, rounds: int) -> None:
    settings = settings.model_copy(update={"routing": Routing(mode=mode, fraction=0.3)})
    standing(settings, "1", "4")
    expected = {version: answers_of(settings, version, ROWS) for version in "1234"}
    assert np.diff(np.sort(list(expected.values()), axis=0), axis=0).min() > 1e-5
    moves = 0
    with started(settings, refresh_seconds=0.05) as service:
        serves(service, "1", [])
        clients = [Client(service.port, rows, expected) for rows in SIZES]
        for client in clients:
            client.start()
        for _ in range(rounds):
            for version in ("2", "3"):
                promote(settings, passed(settings, version), YES)
                moves += serves(service, version, clients)
            for version in ("2", "1"):
                rollback(settings, role="champion", to=None, reason="too gloomy", asked_by="me")
                moves += serves(service, version, clients)
            with transaction(settings) as connection:
                connection.exec_driver_sql("TRUNCATE withdrawn_versions")
        for client in clients:
            client.stopping.set()
            client.join(60)
        assert readiness(service)["status"] == "ready"
    assert moves == rounds * 4  # 20 of them without an A/B test
    assert [client.wrong for client in clients] == [[]] * len(clients)
    answered = {by for client in clients for by in client.answered}
    assert answered == {("champion", version) for version in "123"} | ({("challenger", "4")} if mode == "ab" else set())


def serves(service: Started, version: str, clients: list[Client]) -> bool:
    """Wait until the version serves, and each client, which may have been waiting for an answer, was answered by it."""
    until(lambda: readiness(service)["champion"] == version)
    before = [client.requests for client in clients]
    until(lambda: all(c.wrong or c.requests > done + 1 for c, done in zip(clients, before, strict=True)))
    return True


def readiness(service: Started) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{service.url}/readyz", timeout=10).json()
    return found
