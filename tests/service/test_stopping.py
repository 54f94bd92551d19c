"""Stopping under load: what was accepted is answered and recorded, and no client can keep the process from ending."""

import json
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.service import process as server
from pipeline.service.model import current
from pipeline.service.record import recorder as record
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.company import company_settings, own_database
from tests.service.raw import HEALTH, Connection, ask, instances, predict, request
from tests.service.started import ENDS_SECONDS, Started, started
from tests.service.versions import add_version, standing
from tests.waiting import until

CLIENTS = 12
QUICK_SECONDS = server.FINISH_SECONDS
"""When nothing is left to wait for; else it takes longer."""


def program(*changes: str) -> tuple[str, ...]:
    """The command `barometer serve`, after these statements."""
    lines = ["import time", "from pipeline.cli import main", "from pipeline.service import process as server"]
    return sys.executable, "-c", "\n".join([*lines, *changes, 'main(["serve"])'])


IMPATIENT = program("server.FINISH_SECONDS = 2")
PATIENT = program(
    "from pipeline.service.model import current",
    "current.FIRST_LOOK_SECONDS = 60",
    "server.DRAIN_SECONDS = 5  # in which a client must ask once more, however busy the machine",
)
HANGING = program(
    "from pipeline.service.published.lookup import Lookup",
    "server.FINISH_SECONDS = 2",
    "Lookup.prediction = Lookup.features = lambda *_: time.sleep(600)",
)
STUCK = program(
    "from pipeline.service.model.current import Current",
    "server.FINISH_SECONDS, server.LAST_SECONDS = 2, 3",
    "Current.stop = lambda _: time.sleep(600)",
)


@dataclass
class Client:
    """Asks again and again on one connection, until the service says that it closes it."""

    port: int
    rows: int
    pause_seconds: float = 0
    """Between an answer and the next request: a connection that is idle then is not to be closed yet."""
    answered: int = 0

    def run(self) -> None:
        asked = predict(instances(self.rows))
        with Connection(self.port, timeout_seconds=ENDS_SECONDS) as connection:
            while True:
                reply = connection.send(asked).reply()
                assert reply.status == 200, reply.body
                assert len(json.loads(reply.body)["predictions"]) == self.rows
                self.answered += 1
                if reply.headers.get("connection") == "close":
                    return
                time.sleep(self.pause_seconds)


@pytest.fixture(scope="module")
def with_registry(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    """An installation whose first version is in charge."""
    home = tmp_path_factory.mktemp("stopping") / "a home"
    settings = company_settings(company, home, **own_database(server_url))
    standing(settings, add_version(settings, "one", gloom=0.0))
    return settings


def recorded(settings: Settings) -> int:
    with transaction(settings) as connection:
        return int(connection.execute(text("SELECT count(*) FROM online_predictions")).scalar_one())


def stopped(service: Started, told: signal.Signals = signal.SIGTERM) -> float:
    """Tell the service to stop; return the seconds until it had ended."""
    since = time.monotonic()
    service.process.send_signal(told)
    assert service.process.wait(ENDS_SECONDS) == 0
    return time.monotonic() - since


by_either_signal = pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])


@by_either_signal
def test_what_was_accepted_is_answered_and_recorded(with_registry: Settings, told: signal.Signals):
    before = recorded(with_registry)
    with started(with_registry, PATIENT) as service:
        assert ", version 1 from the registry." in service.line
        clients = [Client(service.port, rows=1) for _ in range(CLIENTS)]
        clients += [Client(service.port, rows=rows, pause_seconds=0.3) for rows in (1, 3_000)]
        with ThreadPoolExecutor(len(clients)) as threads:
            running = [threads.submit(client.run) for client in clients]
            try:
                until(lambda: all(client.answered > 1 for client in clients))
                assert stopped(service, told) < QUICK_SECONDS
            finally:
                service.process.kill()  # else a failure would have them ask for ever
            assert [line for line in service.log().splitlines() if '"level":"error"' in line] == []
            for client in running:
                client.result()  # raises what the client met: a broken connection, another status
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port)).close()
    assert recorded(with_registry) - before == sum(client.answered * client.rows for client in clients)


@by_either_signal
def test_connections_without_a_request_do_not_hold_it(settings: Settings, model_folder: Path, told: signal.Signals):
    with started(settings, model_folder=model_folder) as service:
        idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(3)]
        idle[1].sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert idle[1].recv(100).startswith(b"HTTP/1.1 200")
        idle[2].sendall(b"POST /predict HTTP/1.1\r\nhost: 127.0")  # and never more
        time.sleep(0.2)
        assert stopped(service, told) < QUICK_SECONDS
        for each in idle:
            each.close()


def test_slow_clients_do_not_hold_it_longer_than_the_bound(settings: Settings, model_folder: Path):
    with ExitStack() as stack, started(settings, IMPATIENT, model_folder=model_folder, request_seconds=600) as service:
        stack.enter_context(slow_sender(service.port))
        stack.enter_context(slow_reader(service.port))
        assert stopped(service) > 2


def test_told_twice_it_does_not_wait_for_answers(settings: Settings, model_folder: Path):
    with ExitStack() as stack, started(settings, model_folder=model_folder, request_seconds=600) as service:
        stack.enter_context(slow_sender(service.port))
        stack.enter_context(slow_reader(service.port))
        service.process.terminate()
        until(lambda: is_stopping(service.port))
        assert stopped(service) < QUICK_SECONDS


@pytest.mark.parametrize(
    "asking", [request("GET", "/predictions/a/b"), predict(b'{"instances": [{"customer_id": "c", "product_id": "p"}]}')]
)
def test_a_thread_that_waits_for_a_silent_database_does_not_hold_it(with_registry: Settings, asking: bytes):
    with started(with_registry, HANGING, request_seconds=600) as service, ExitStack() as stack:
        waiting = [stack.enter_context(Connection(service.port)).send(asking) for _ in range(12)]
        until(lambda: b"\nbarometer_in_flight 13" in ask(service.port, request("GET", "/metrics")).body)
        assert stopped(service) > 2
        told = [json.loads(line) for line in service.log().splitlines()]
        assert sum(line.get("status") == 499 for line in told) == len(waiting), "the log has what was cut off, too"


def test_whatever_hangs_while_it_stops_it_ends_in_time(settings: Settings, model_folder: Path):
    with started(settings, STUCK, model_folder=model_folder) as service:
        ask(service.port, HEALTH)
        stopped(service)
        assert '"/healthz"' in service.log()


def test_all_that_it_waits_for_takes_less_than_a_cloud_gives():
    bounds = (server.DRAIN_SECONDS, server.FINISH_SECONDS, current.STOP_SECONDS, record.STOP_SECONDS)
    assert sum(bounds) < ENDS_SECONDS


def is_stopping(port: int) -> bool:
    try:
        return ask(port, HEALTH).headers.get("connection") == "close"
    except (OSError, IndexError):  # it does not listen any more, or has closed the connection without an answer
        return True


def slow_sender(port: int) -> Connection:
    """Has sent the half of a request, whose rest the service waits for."""
    connection = Connection(port).send(predict(instances(10), {"Expect": "100-continue"})[:-20])
    assert connection.reply(has_body=False).status == 100
    return connection


def slow_reader(port: int) -> socket.socket:
    """Does not read its answer, which has begun and is larger than what the system keeps for it."""
    connection = socket.socket()
    connection.settimeout(60)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(predict(instances(20_000)))
    assert connection.recv(1, socket.MSG_PEEK) == b"H"
    return connection
