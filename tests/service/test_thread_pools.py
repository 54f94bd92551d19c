"""What waits for the warehouse or for files takes neither the threads nor the room that predictions need."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any

import pytest
from starlette.staticfiles import StaticFiles

from pipeline.errors import RequestError
from pipeline.service.pages import page
from pipeline.service.published.lookup import Lookup
from pipeline.service.thread_pools import THREADS, ThreadPool
from pipeline.settings import Settings
from tests.service.raw import ROW, Connection, Reply, ask, instances, predict, request
from tests.service.server import Server, running
from tests.service.versions import standing
from tests.waiting import until

MOST = 64
"""Of each kind, in threads and waiting for one."""
CSV = ",".join(ROW).encode() + b"\n" + b",".join(str(value).lower().encode() for value in ROW.values()) + b"\n"
SUBJECT = b'{"instances": [{"customer_id": "c", "product_id": "p"}]}'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WAITING = {
    "a published prediction": request("GET", "/predictions/a/b"),
    "an instance to complete": predict(SUBJECT),
    "instances to complete": predict(SUBJECT, {"Content-Type": "application/jsonlines"}).replace(
        SUBJECT, b'{"customer_id": "c", "product_id": "p"}'.ljust(len(SUBJECT))
    ),
    "the form": request("POST", "/", FORM, b"customer_id=c&product_id=p"),
    "a file": request("GET", "/reports/a.html"),
    "the page": request("GET", "/"),
}


class Silence:
    """Has what is put in its place wait."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.waiting = 0

    def __call__(self, *_arguments: Any, **_options: Any) -> Any:
        self.waiting += 1
        assert self.over.wait(120)
        raise RequestError(503, "It was waited for.", "nothing.", "go on.")


@pytest.fixture(scope="module")
def server(registered: Settings) -> Iterator[Server]:
    standing(registered, "1")
    with running(registered) as started:
        yield started


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    found = Silence()
    monkeypatch.setattr(Lookup, "rows", found)
    monkeypatch.setattr(StaticFiles, "lookup_path", found)
    monkeypatch.setattr(page, "latest_report", found)
    yield found
    found.over.set()


@pytest.fixture
def asked(server: Server, silence: Silence) -> Iterator[Callable[[bytes, int], list[Any]]]:
    """Sends a request many times at once, and returns the answers to come."""
    with ThreadPoolExecutor(100) as threads:

        def send(what: bytes, times: int) -> list[Any]:
            return [threads.submit(asked_patiently, server.port, what) for _ in range(times)]

        yield send
        silence.over.set()


def asked_patiently(port: int, what: bytes) -> Reply:
    with Connection(port, timeout_seconds=120) as connection:
        return connection.send(what).reply()


@pytest.mark.parametrize("what", WAITING)
def test_predictions_do_not_wait_for_what_waits(server: Server, silence: Silence, asked: Any, what: str):
    waiting = asked(WAITING[what], 40)
    until(lambda: silence.waiting >= 4)
    assert ask(server.port, predict(instances())).status == 200
    assert ask(server.port, predict(CSV, {"Content-Type": "text/csv"})).status == 200
    assert len(json.loads(ask(server.port, predict(instances(65))).body)["predictions"]) == 65
    assert not any(one.done() for one in waiting)


@pytest.mark.parametrize("what", WAITING)
def test_when_too_many_wait_the_next_is_refused_at_once(server: Server, silence: Silence, asked: Any, what: str):
    waiting = asked(WAITING[what], MOST + 10)
    until(lambda: sum(one.done() for one in waiting) == 10)
    refused = [one.result() for one in waiting if one.done()]
    assert {(reply.status, reply.headers["retry-after"]) for reply in refused} == {(503, "1")}
    assert all(b"are waiting already" in reply.body for reply in refused)
    assert ask(server.port, predict(instances())).status == 200


def test_the_warehouse_holds_up_neither_the_site_nor_the_docs(
    server: Server, asked: Any, silence: Silence, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()
    monkeypatch.setattr(Lookup, "rows", silence)
    asked(WAITING["a published prediction"], MOST)
    until(lambda: silence.waiting >= 4)
    assert ask(server.port, request("GET", "/docs")).status == 200
    assert ask(server.port, request("GET", "/")).status == 200
    assert ask(server.port, request("GET", "/reports/")).status == 404


def test_what_has_begun_is_not_refused_half_way():
    async def begun(threads: ThreadPool, over: threading.Event) -> int:
        await threads(int)
        full = [asyncio.create_task(threads(over.wait, 60), context=Context()) for _ in range(MOST)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await asyncio.create_task(threads(int), context=Context())  # another request has a context of its own
        assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "1"})
        asyncio.get_running_loop().call_later(0.1, over.set)
        in_a_task = asyncio.create_task(threads(len, "four"))  # as a response that streams is sent
        found = await threads(len, "four")
        assert await in_a_task == found
        await asyncio.gather(*full)
        return found

    assert asyncio.run(begun(ThreadPool("a test"), threading.Event())) == 4


def test_who_gives_up_waiting_makes_room_and_who_is_at_work_does_not():
    async def gave_up(threads: ThreadPool, over: threading.Event) -> int:
        waiting = [asyncio.create_task(threads(over.wait, 60)) for _ in range(MOST)]
        await asyncio.sleep(0.2)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        again = [asyncio.create_task(threads(int)) for _ in range(MOST)]
        await asyncio.sleep(0)
        refused = sum(task.done() and task.exception() is not None for task in again)
        over.set()
        await asyncio.wait(again)
        return refused

    assert asyncio.run(gave_up(ThreadPool("a test"), threading.Event())) == THREADS
