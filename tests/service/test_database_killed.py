"""PostgreSQL is killed under load: predictions go on, and what was answered is recorded once it is back, once each.

The server is a real embedded one of a home of its own, killed with SIGKILL by its pid.
"""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.errors import DatabaseUnavailableError
from pipeline.local.postgres import embedded
from pipeline.service.record import recorder as record
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.company import company_settings
from tests.published import publish_week
from tests.service.raw import ROW, Connection, Reply, ask, instances, predict, request
from tests.service.server import Server, running
from tests.service.versions import MARCH, add_version, standing, with_service
from tests.waiting import until

BOUND_ROWS = 60
PUBLISHED = ("c/1", "p 1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose server this test may kill."""
    home = tmp_path_factory.mktemp("killed") / "a home"
    yield home
    embedded.remove(home)


@pytest.fixture(scope="module")
def registered(company: Path, home: Path) -> Settings:
    """A champion and a published week, in that home's own server."""
    settings = company_settings(company, home)
    version = add_version(settings, "the champion", 0.5)
    standing(settings, version)
    publish_week(settings, MARCH, [(*PUBLISHED, 0.75, None)])
    return with_service(settings, refresh_seconds=0.5)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(record, "LONGEST_PAUSE_SECONDS", 0.3)


def elsewhere(settings: Settings, home: Path) -> Settings:
    """The same warehouse as a server of somebody else's, which the service cannot start again."""
    database = settings.database.model_copy(update={"url": embedded.attach(home).url})
    return settings.model_copy(update={"database": database})


@contextmanager
def load(server: Server) -> Iterator[Counter[int]]:
    """Ask all the time, on two connections; every answer must be 200. Yields the answers by their status."""
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def asking() -> None:
        with Connection(server.port) as connection:
            while not over.is_set():
                statuses[connection.send(predict(instances(3))).reply().status] += 1
                time.sleep(0.01)

    with ThreadPoolExecutor(2) as threads:
        clients = [threads.submit(asking) for _ in range(2)]
        try:
            yield statuses
        finally:
            over.set()
        for client in clients:
            client.result()
    assert set(statuses) == {200}


def published(server: Server) -> Reply:
    return ask(server.port, request(target="/predictions/c%2F1/p%201"))


def ready(server: Server) -> dict[str, Any]:
    reply = ask(server.port, request(target="/readyz"))
    assert reply.status == 200
    content: dict[str, Any] = json.loads(reply.body)
    return content


def metric(server: Server, name: str) -> float:
    lines = ask(server.port, request(target="/metrics")).body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def kill(home: Path) -> None:
    """Kill the home's server, as the kernel would when memory is short."""
    server = embedded.attach(home)
    assert server.postmaster is not None
    server.postmaster.kill()
    server.postmaster.wait(60)


@contextmanager
def killed_and_its_port_taken(home: Path) -> Iterator[int]:
    """Kill the home's server and, before anybody can start it again, listen in its place; yields the port."""
    port = embedded.attach(home).port
    with embedded.exclusive_lock(home / "postgres/start.lock"):
        kill(home)
        taken: list[socket.socket] = []
        until(lambda: taken or _listening(port, taken))
    with taken[0]:
        yield port


def _listening(port: int, taken: list[socket.socket]) -> bool:
    try:
        taken.append(socket.create_server(("127.0.0.1", port)))
    except OSError:  # what the killed server has left running still does
        return False
    return True


def recorded(settings: Settings) -> list[tuple[Any, ...]]:
    with transaction(settings) as connection:
        query = text("SELECT request_id, row, features, satisfaction, model_version FROM online_predictions")
        return [tuple(row) for row in connection.execute(query)]


@pytest.fixture
def emptied(registered: Settings) -> Settings:
    with transaction(registered) as connection:
        connection.execute(text("TRUNCATE online_predictions, online_recorders"))
    return registered


def test_while_the_server_is_away_predictions_go_on_and_the_record_waits(emptied: Settings, home: Path):
    with running(with_service(elsewhere(emptied, home), record_rows=BOUND_ROWS, refresh_seconds=0.2)) as server:
        recorder = server.application.recorder
        assert recorder is not None
        with load(server) as statuses:
            until(lambda: recorder.written > 30)
            until(lambda: published(server).status == 200)
            until(lambda: ready(server)["status"] == "ready")
            kill(home)
            until(lambda: recorder.state["state"] == "away")
            dropped = recorder.dropped
            until(lambda: recorder.dropped > dropped + 30)
            assert recorder.waiting == BOUND_ROWS
            until(lambda: ready(server)["status"] == "degraded")
            assert "registry" in [problem["what"] for problem in ready(server)["problems"]]
            assert ready(server)["record"]["state"] == "away"
            assert metric(server, "barometer_record_dropped_total") > 30
            assert metric(server, "barometer_record_waiting") == BOUND_ROWS
            refused = published(server)
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            assert refused.problem["detail"].startswith("The warehouse does not answer.")
            answered = statuses[200]
            until(lambda: statuses[200] > answered + 20)
            embedded.attach(home)  # it is back
            until(lambda: recorder.state["state"] == "recording")
            dropped = recorder.dropped
            until(lambda: ready(server)["status"] == "ready")
            assert ready(server)["record"] == {"state": "recording"}
            until(lambda: published(server).status == 200)
        until(lambda: recorder.waiting == 0)
    assert recorder.dropped >= dropped
    assert recorder.written + recorder.dropped == 3 * statuses[200]
    rows = recorded(emptied)
    assert len(rows) == recorder.written
    assert len({row[:2] for row in rows}) == len(rows), "something was recorded twice"
    assert all(row[2:] == (ROW, *rows[0][3:]) for row in rows)
    with transaction(emptied) as connection:
        counts = connection.execute(text("SELECT recorded, dropped FROM online_recorders")).one()
    assert tuple(counts) == (recorder.written, recorder.dropped)


def test_the_services_own_server_is_started_again_wherever_it_then_listens(emptied: Settings, home: Path):
    with running(emptied) as server:
        recorder = server.application.recorder
        assert recorder is not None

        def goes_on() -> None:
            written = recorder.written
            until(lambda: recorder.written > written + 60)
            until(lambda: recorder.waiting < 60 and published(server).status == 200)

        with load(server) as statuses:
            goes_on()
            kill(home)
            goes_on()
            with killed_and_its_port_taken(home) as port:
                goes_on()
                assert embedded.attach(home).port != port
            kill(home)
            goes_on()
        until(lambda: recorder.waiting == 0)
    assert (recorder.dropped, recorder.written) == (0, 3 * statuses[200])
    rows = recorded(emptied)
    assert len({row[:2] for row in rows}) == len(rows) == 3 * statuses[200]


def test_it_starts_without_its_database_and_records_when_it_comes(emptied: Settings, home: Path):
    """From the local copy that the tests before have left."""
    settings = elsewhere(emptied, home)
    kill(home)
    with pytest.raises(DatabaseUnavailableError), transaction(settings) as connection:
        connection.execute(text("SELECT 1"))
    with running(settings) as server:
        recorder = server.application.recorder
        assert recorder is not None
        with load(server):
            until(lambda: recorder.waiting > 30)
            assert published(server).status == 503
            embedded.attach(home)
            until(lambda: recorder.written > 30)
        until(lambda: recorder.waiting == 0)
    assert len(recorded(emptied)) == recorder.written
