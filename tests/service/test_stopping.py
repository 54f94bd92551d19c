"""Stopping under load: what was accepted is answered and recorded, and nobody can keep the process from ending."""

import http.client
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.service import current, record, server
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.company import company_settings
from tests.service.started import ENDS_SECONDS, Started, started
from tests.service.versions import add_version, fresh_prefix, standing

CLIENTS = 12
UNDER_LOAD_SECONDS = 0.7
QUICK_SECONDS = 8
"""When nothing is left to wait for."""
IMPATIENT = """
from pipeline.cli import main
from pipeline.service import server
server.FINISH_SECONDS = 2
main(["serve"])
"""
INSTANCE = {"events": 3, "amount": None, "is_busy": True, "kind": "never seen"}


def body(rows: int) -> bytes:
    return json.dumps({"instances": [INSTANCE] * rows}).encode()


@dataclass
class Client:
    """Asks again and again on one connection, until the service says that it closes it."""

    port: int
    rows: int
    pause_seconds: float = 0
    """Between an answer and the next request: a connection that is idle then is not to be closed yet."""
    answered: int = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ENDS_SECONDS)
        asked = body(self.rows)
        while True:
            connection.request("POST", "/predict", asked, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
            assert len(json.loads(said)["predictions"]) == self.rows
            self.answered += 1
            if answer.getheader("connection") == "close":
                return
            time.sleep(self.pause_seconds)


@pytest.fixture(scope="module")
def with_registry(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    """An installation whose first version is in charge."""
    home = tmp_path_factory.mktemp("stopping") / "a home"
    settings = company_settings(company, home, DATABASE__URL=server_url, DATABASE__PREFIX=fresh_prefix())
    standing(settings, add_version(settings, "one", gloom=0.0))
    return settings


def recorded(settings: Settings) -> int:
    with transaction(settings) as connection:
        return int(connection.execute(text("SELECT count(*) FROM online_predictions")).scalar_one())


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def stop(request) -> Callable[[Started], float]:
    """Tells the service to stop and returns the seconds it took to end."""

    def told(service: Started) -> float:
        service.process.send_signal(request.param)
        return ended(service)

    return told


def ended(service: Started) -> float:
    since = time.monotonic()
    assert service.process.wait(ENDS_SECONDS) == 0
    return time.monotonic() - since


def test_what_was_accepted_is_answered_and_recorded(with_registry: Settings, stop):
    before = recorded(with_registry)
    with started(with_registry) as service:
        assert ", version 1 from the registry." in service.line
        clients = [Client(service.port, rows=1) for _ in range(CLIENTS)]
        clients += [
            Client(service.port, rows=1, pause_seconds=0.5),
            Client(service.port, rows=3_000, pause_seconds=0.3),
        ]
        with ThreadPoolExecutor(len(clients)) as threads:
            running = [threads.submit(client.run) for client in clients]
            time.sleep(UNDER_LOAD_SECONDS)
            assert stop(service) < QUICK_SECONDS
            assert [line for line in service.log().splitlines() if '"level":"error"' in line] == []
            for client in running:
                client.result()  # raises what the client met: a broken connection, another status
        assert all(client.answered > 1 for client in clients)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port)).close()
    assert recorded(with_registry) - before == sum(client.answered * client.rows for client in clients)


def test_connections_without_a_request_do_not_hold_it(settings: Settings, model_folder: Path, stop):
    with started(settings, model_folder=model_folder) as service:
        idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(3)]
        idle[1].sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert idle[1].recv(100).startswith(b"HTTP/1.1 200")
        idle[2].sendall(b"POST /predict HTTP/1.1\r\nhost: 127.0")  # and never more
        time.sleep(0.2)
        assert stop(service) < QUICK_SECONDS
        for each in idle:
            each.close()


def test_slow_clients_do_not_hold_it_longer_than_the_bound(settings: Settings, model_folder: Path):
    command = (sys.executable, "-c", IMPATIENT)
    with started(settings, command, model_folder=model_folder, request_seconds=600) as service:
        slow = [slow_sender(service.port), slow_reader(service.port)]
        service.process.terminate()
        assert 2 < ended(service) < 2 + QUICK_SECONDS
        for each in slow:
            each.close()


def test_told_twice_it_does_not_wait_for_answers(settings: Settings, model_folder: Path):
    with started(settings, model_folder=model_folder, request_seconds=600) as service:
        slow = [slow_sender(service.port), slow_reader(service.port)]
        service.process.terminate()
        time.sleep(0.2)
        service.process.terminate()
        assert ended(service) < QUICK_SECONDS
        for each in slow:
            each.close()


def test_all_that_it_waits_for_takes_less_than_a_cloud_gives():
    bounds = (server.DRAIN_SECONDS, server.FINISH_SECONDS, current.STOP_SECONDS, record.STOP_SECONDS)
    assert sum(bounds) < ENDS_SECONDS


def slow_sender(port: int) -> socket.socket:
    """Has sent the half of a request."""
    return asked(port, body(10), sent=20)


def slow_reader(port: int) -> socket.socket:
    """Does not read its answer, which is larger than what the system keeps for it."""
    whole = body(20_000)
    return asked(port, whole, sent=len(whole), buffer=4096)


def asked(port: int, whole: bytes, sent: int, buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", port))
    head = [
        "POST /predict HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(whole)}",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + whole[:sent])
    threading.Event().wait(1)  # until it is being answered
    return connection
