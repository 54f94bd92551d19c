"""The bounds of requests, which hold for every client: size, time, and number at once."""

import json
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from pipeline.service.model.serving import Serving
from pipeline.service.server import protocol
from tests.service.raw import CHUNKED, HEALTH, ROW, Connection, ask, chunk, instances, predict, request
from tests.waiting import until


@pytest.fixture(scope="module")
def port(serve) -> int:
    """Port of a service with small limits, without keys."""
    return serve(body_bytes=20_000, rows=5).port


@pytest.fixture(scope="module")
def hasty_port(serve) -> int:
    """Port of a service that gives a request little time."""
    return serve(request_seconds=0.5).port


@pytest.fixture(scope="module")
def narrow_port(serve) -> int:
    """Port of a service that answers three at once, and has time."""
    return serve(concurrent_requests=3).port


@pytest.fixture(scope="module")
def wide_port(serve) -> int:
    """Port of a service whose answers can be larger than what the operating system keeps for a connection."""
    return serve(body_bytes=60_000_000, rows=100_000).port


def test_a_request_within_the_limits_is_answered(port):
    assert ask(port, predict(instances(5))).status == 200
    whole = instances()
    assert ask(port, CHUNKED, chunk(whole[:7]), chunk(whole[7:]), chunk(b"")).status == 200


def test_a_body_that_says_it_is_too_large_is_not_read(port, monkeypatch):
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    with Connection(port) as connection:
        reply = connection.send(predict(b"", {"Content-Length": "20001"})).reply()
        assert reply.status == 413
        assert "20,000 bytes" in reply.problem["expected"]
        assert connection.is_closed()


@pytest.mark.parametrize("pieces", [[b"x" * 20_001], [b"x" * 15_000] * 2, [b"x" * 5_000] * 5])
def test_a_body_of_unsaid_length_is_too_large_as_soon_as_it_is(port, pieces, monkeypatch):
    """That is before its end, which never comes."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    with Connection(port) as connection:
        assert connection.send(CHUNKED, *map(chunk, pieces)).reply().problem["status"] == 413
        assert connection.is_closed()


def test_who_sends_all_of_a_body_too_large_reads_the_answer_and_keeps_the_connection(port, monkeypatch):
    """Else it would read only that the connection was reset."""
    assert ask(port, CHUNKED + chunk(b"x" * 20_001) + chunk(b"")).problem["status"] == 413
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 2)
    with Connection(port) as connection:
        for size in (30_000, 3_000_000):
            assert connection.send(predict(b"", {"Content-Length": str(size)})).reply().status == 413
            connection.send(b"x" * size)
        time.sleep(2.5)
        assert connection.send(HEALTH).reply().status == 200


def test_who_never_ends_a_body_that_nobody_reads_is_cut_off(port, monkeypatch):
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)
    with Connection(port) as connection:
        connection.send(request("POST", "/nothing", {"Content-Length": "1000"}, b"x"))
        assert connection.reply().status == 404
        with suppress(OSError):
            for _ in range(200):
                time.sleep(0.1)
                connection.send(b"x")  # wins it no time
            raise AssertionError("it can go on for ever")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", instances(6)),
        ("application/jsonlines", json.dumps(ROW).encode() + b"\n" + b"\n".join([json.dumps(ROW).encode()] * 5)),
        ("text/csv", b"events,amount,is_busy,kind\n" + b"1,2,true,a\n" * 6),
    ],
)
def test_too_many_rows(port, kind, content):
    assert ask(port, predict(content, {"Content-Type": kind})).problem["status"] == 413
    assert ask(port, predict(content, {"Content-Type": kind, "X-Request-ID": "a"})).headers["x-request-id"] == "a"


@pytest.mark.parametrize("sent", [0, 10])
def test_a_body_that_does_not_come_in_time(hasty_port, sent, monkeypatch):
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    with Connection(hasty_port) as connection:
        started = time.monotonic()
        reply = connection.send(predict(b"", {"Content-Length": "100"}) + b"x" * sent).reply()
        assert reply.problem["status"] == 408
        assert time.monotonic() - started > 0.4
        assert connection.is_closed()


def test_a_body_that_trickles_does_not_win_time_by_each_byte(hasty_port):
    """Else it would be whole in the end, after 10 s, and malformed."""
    with Connection(hasty_port) as connection:
        connection.send(predict(b"", {"Content-Length": "100"}))
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                connection.send(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert connection.reply().status == 408
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT", HEALTH[:-2]])
def test_headers_that_do_not_come_in_time(port, begun, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.4)
    with Connection(port) as connection:
        assert connection.send(begun).is_closed(30)


def test_headers_behind_a_whole_request_that_do_not_come_in_time(port, monkeypatch):
    with Connection(port) as connection:
        assert connection.send(HEALTH).reply().status == 200  # before a head has little time
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.4)
        assert connection.send(HEALTH + HEALTH[:-4]).reply().status == 200
        assert connection.is_closed(4.5), "an idle connection is closed after 5 s"


def test_headers_wait_for_the_answers_before_them(wide_port, monkeypatch):
    """Their time is not up while the service is at work on another request of the connection."""
    score, go_on = Serving.score, threading.Event()

    def slowly(*arguments):
        assert go_on.wait(60)  # in a thread, as every large request is scored
        return score(*arguments)

    monkeypatch.setattr(Serving, "score", slowly)
    with Connection(wide_port) as connection:
        assert connection.send(HEALTH).reply().status == 200  # before a head has little time
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
        connection.send(predict(instances(1_000)) + HEALTH[:20])
        time.sleep(1)
        connection.send(HEALTH[20:])
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 10)
        assert ask(wide_port, HEALTH).status == 200  # so what was sent before has been read
        go_on.set()
        assert [connection.reply().status for _ in range(2)] == [200, 200]


def test_huge_headers(port):
    large = "x" * (protocol.HEAD_BYTES + 1)
    assert ask(port, request(headers={"X-Large": large})).problem["status"] == 431
    assert ask(port, request(target=f"/{large}")).problem["status"] == 431
    assert ask(port, request(headers={f"X-{number}": "x" * 90 for number in range(1000)})).problem["status"] == 431
    assert ask(port, request(headers={"X-Large": large[: protocol.HEAD_BYTES // 2]})).status == 200
    with Connection(port) as connection:  # the end never comes
        reply = connection.send(HEALTH[:-2], b"X-Large: ", *([b"x" * 10_000] * 8)).reply()
        assert reply.problem["status"] == 431
        assert connection.is_closed()


def test_a_large_body_behind_small_headers_is_no_large_head(port):
    with Connection(port) as connection:
        for _ in range(3):
            assert connection.send(predict(instances() + b" " * 19_000) * 4).reply().status == 200
            assert [connection.reply().status for _ in range(3)] == [200] * 3


def test_more_at_once_than_allowed(narrow_port):
    with ExitStack() as stack:
        held = [stack.enter_context(Connection(narrow_port)) for _ in range(3)]
        for connection in held:
            connection.send(predict(b"", {"Content-Length": str(len(instances()))}))
        until(lambda: ask(narrow_port, predict(instances())).status == 503)
        refused = ask(narrow_port, predict(instances()))
        assert refused.problem["status"] == 503
        assert refused.headers["retry-after"] == "1"
        assert ask(narrow_port, HEALTH).status == 200, "whether it lives can always be asked"
        for connection in held:
            assert connection.send(instances()).reply().status == 200
    assert ask(narrow_port, predict(instances())).status == 200


def test_who_goes_away_makes_room(narrow_port):
    for _ in range(20):
        with Connection(narrow_port) as connection:
            connection.send(predict(b"", {"Content-Length": "100"}))
    until(lambda: ask(narrow_port, predict(instances())).status == 200)


def test_who_does_not_take_the_answers_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(protocol, "TAKE_SECONDS", 0.5)
    port = serve(concurrent_requests=1, body_bytes=60_000_000, rows=100_000).port
    with Connection(port) as connection:
        connection.send(predict(instances(60_000)) * 2)  # more than the operating system keeps for it
        time.sleep(1)
        until(lambda: ask(port, predict(instances())).status == 200)  # who does not read keeps no others out


def test_who_takes_the_answer_slowly_gets_all_of_it(wide_port, monkeypatch):
    monkeypatch.setattr(protocol, "TAKE_SECONDS", 2)
    with Connection(wide_port, pause_seconds=0.03) as connection:  # 6 s for all of it
        reply = connection.send(predict(instances(100_000))).reply()
    assert len(json.loads(reply.body)["predictions"]) == 100_000
