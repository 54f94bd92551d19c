"""Files on their way in: they never take a prediction's place, and none takes for ever, however its bytes come."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from pipeline.batch_jobs.places import incoming
from pipeline.errors import RequestError
from pipeline.service.batch import upload
from pipeline.service.batch.upload import ArrivingFile, take_in
from pipeline.service.calls import Call
from pipeline.service.server.front import UPLOADS_AT_ONCE
from pipeline.settings import Settings
from tests.batch_jobs.airflow_double import airflow_double
from tests.service.calls import call_of
from tests.service.raw import HEALTH, Connection, ask, instances, predict, request
from tests.service.server import running
from tests.service.versions import standing, with_service
from tests.waiting import until

CSV = {"Content-Type": "text/csv"}
BEGUN = request("POST", "/batch-predictions", CSV | {"Content-Length": "1000000000"}) + b"a"
WHOLE = request("POST", "/batch-predictions", CSV, b"events,amount,is_busy,kind\n1,2,true,a\n")


@pytest.fixture
def taking(registered: Settings) -> Iterator[Callable[..., AbstractContextManager[int]]]:
    """Runs a service that takes files in, beside the double of an Airflow."""
    standing(registered, "1")
    (registered.home / "airflow").mkdir(exist_ok=True)
    (registered.home / "airflow" / "passwords.json").write_text("{}")
    with airflow_double() as (airflow_port, _):
        services = registered.services.model_copy(update={"airflow_port": airflow_port})
        beside = registered.model_copy(update={"services": services})

        @contextmanager
        def run(**service: object) -> Iterator[int]:
            with running(with_service(beside, **service)) as server:
                yield server.port

        yield run


def arriving(settings: Settings) -> int:
    """How many files are on their way in."""
    return len(list(incoming(settings).parent.iterdir()))


def test_uploads_that_hardly_come_leave_predictions_their_places(taking, registered):
    before = arriving(registered)
    with taking(concurrent_requests=2) as port, ExitStack() as stack:
        held = [stack.enter_context(Connection(port)).send(BEGUN) for _ in range(UPLOADS_AT_ONCE)]
        until(lambda: arriving(registered) == before + UPLOADS_AT_ONCE)
        for _ in range(5):
            refused = ask(port, WHOLE)
            assert refused.problem["status"] == 503
            assert int(refused.headers["retry-after"]) > 1
            assert f"{UPLOADS_AT_ONCE} files" in refused.problem["detail"]
            assert ask(port, predict(instances())).status == 200
        for connection in held:
            connection.send(b"a")
        assert ask(port, predict(instances())).status == 200
        stack.close()
        until(lambda: ask(port, WHOLE).status == 202)
    assert arriving(registered) == before


def test_predictions_that_hardly_come_leave_uploads_theirs(taking):
    with taking(concurrent_requests=2) as port, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(Connection(port)).send(predict(b"", {"Content-Length": "100"}))
        until(lambda: ask(port, predict(instances())).status == 503)
        assert ask(port, WHOLE).status == 202
        assert ask(port, predict(instances())).status == 503, "an upload that has ended makes no room"
        assert ask(port, HEALTH).status == 200


def test_an_upload_that_drips_is_cut_off(taking, registered):
    before = arriving(registered)
    with taking(request_seconds=0.5) as port, Connection(port) as connection:
        connection.send(BEGUN)
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                connection.send(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            problem = connection.reply().problem
        finally:
            stop.set()
            thread.join()
    assert problem["status"] == 408
    assert f"{upload.LEAST_BYTES_A_SECOND:,} bytes a second" in problem["detail"]
    until(lambda: arriving(registered) == before)


def slow(parts: int, size: int, pause_seconds: float) -> Call:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(parts):
            await asyncio.sleep(pause_seconds)
            yield b"x" * size

    return call_of("/batch-predictions", {"content-type": "text/csv"}, stream=stream())


def hasty(settings: Settings, seconds: float) -> Settings:
    return settings.model_copy(update={"service": settings.service.model_copy(update={"request_seconds": seconds})})


def test_an_upload_over_an_ordinary_line_may_take_its_time(settings, monkeypatch):
    monkeypatch.setattr(upload, "LEAST_BYTES_A_SECOND", 1_000)
    started = time.monotonic()
    taken_in = asyncio.run(take_in(hasty(settings, 0.5), slow(20, 5_000, 0.1)))
    assert time.monotonic() - started > 2
    assert taken_in.arrived.stat().st_size == 100_000


def test_what_came_fast_buys_no_long_pause(settings):
    async def stream() -> AsyncIterator[bytes]:
        yield b"x" * 10_000_000
        await asyncio.sleep(60)

    call = slow(0, 0, 0)
    call.stream = stream
    started = time.monotonic()
    with pytest.raises(RequestError) as refused:
        asyncio.run(take_in(hasty(settings, 0.3), call))
    assert refused.value.status == 408
    assert time.monotonic() - started < 30
    assert arriving(settings) == 0


def test_a_slow_disk_is_not_held_against_who_sends(settings, monkeypatch):
    add = ArrivingFile.add

    async def slowly(file: ArrivingFile, part: bytes) -> None:
        await asyncio.sleep(0.3)
        await add(file, part)

    monkeypatch.setattr(ArrivingFile, "add", slowly)
    monkeypatch.setattr(upload, "LEAST_BYTES_A_SECOND", 1_000_000)
    taken_in = asyncio.run(take_in(hasty(settings, 0.5), slow(4, 10, 0)))
    assert taken_in.arrived.stat().st_size == 40


MANY = instances(6)
FORMS = {
    "barometer": ("/predict", MANY),
    "sagemaker": ("/invocations", None),  # it limits no rows
    "vertex": ("/predict", MANY),
    "azure": ("/score", MANY),
}


@pytest.mark.parametrize("contract", FORMS)
def test_a_file_is_only_proposed_where_one_is_taken(serve, contract):
    port = serve(contract=contract, host="127.0.0.1", rows=5, body_bytes=20_000, request_seconds=0.5).port
    path, many = FORMS[contract]
    head = {"Content-Type": "application/json"}
    said = [
        ask(port, request("POST", path, head, b"x" * 20_001)),
        ask(port, request("POST", path, head | {"Content-Length": "100"})),
        *([ask(port, request("POST", path, head, many))] if many else []),
    ]
    assert [reply.status for reply in said] == [413, 408, 413][: len(said)]
    for reply in said:
        assert b"batch-predictions" not in reply.body, "with a model's folder there is no Airflow"


def test_where_files_are_taken_they_are_proposed(taking):
    with taking(rows=5, body_bytes=20_000, request_seconds=0.5) as port:
        head = {"Content-Type": "application/json"}
        for body, status in ((b"x" * 20_001, 413), (MANY, 413)):
            problem = ask(port, predict(body)).problem
            assert problem["status"] == status
            assert problem["do"].endswith("or a file: POST /batch-predictions.")
        problem = ask(port, predict(b"", {"Content-Length": "100"})).problem
        assert problem["status"] == 408
        assert problem["do"].endswith("or a file: POST /batch-predictions.")
        refused = ask(port, request("POST", "/batch-predictions", head, b"x" * 70_000)).problem
        assert refused["do"] == "split the file."
