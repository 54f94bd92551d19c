"""A request that also asks for another protocol (Java's client and `curl --http2` do) is answered like any other.

RFC 9110, 7.8: a server may ignore `Upgrade`. What follows the head is then the request's body, and never a request.
"""

import json

import pytest

from pipeline.service.server import protocol
from tests.service.raw import HEALTH, Connection, chunk, instances, predict, request

H2C = {
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
}
WEBSOCKET = {"connection": "keep-alive, upgrade", "UPGRADE": "websocket", "Sec-WebSocket-Version": "13"}
OTHERS = [H2C, WEBSOCKET, {"Connection": "upgrade", "Upgrade": "TLS/1.0, foo/2"}]
METRICS = request(target="/metrics")
"""A request that a body may look like."""


@pytest.fixture(scope="module")
def port(serve) -> int:
    """Port of a service without keys."""
    return serve().port


def head_and_body(rows: int, upgrade: dict[str, str], *, chunked: bool) -> tuple[bytes, bytes]:
    body = instances(rows)
    if not chunked:
        whole = predict(body, upgrade)
        return whole.removesuffix(body), body
    head = predict(b"", {"Transfer-Encoding": "chunked"} | upgrade)
    return head, chunk(body[:5]) + chunk(body[5:]) + chunk(b"")


def rows_of(reply) -> int:
    assert reply.status == 200, reply.body
    return len(json.loads(reply.body)["predictions"])


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("upgrade", OTHERS)
def test_its_body_may_come_with_the_head_or_later_or_byte_by_byte(port, upgrade, chunked):
    head, body = head_and_body(3, upgrade, chunked=chunked)
    with Connection(port) as connection:
        for parts in (
            [head + body],
            [head, body],
            [head[:-1], head[-1:] + body[:9], body[9:]],
            [bytes([byte]) for byte in head + body],
        ):
            assert rows_of(connection.send(*parts).reply()) == 3
        assert connection.send(HEALTH).reply().body == b"ok\n", "the connection goes on"


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_requests_that_follow_it_are_answered_in_order(port, pieces):
    chunked = b"".join(head_and_body(4, H2C, chunked=True))
    sent = b"".join(
        [predict(instances(2), H2C), request(headers=H2C), chunked, HEALTH, predict(instances(3), WEBSOCKET)]
    )
    size = -(-len(sent) // pieces)
    with Connection(port) as connection:
        connection.send(*(sent[at : at + size] for at in range(0, len(sent), size)))
        replies = [connection.reply() for _ in range(5)]
        assert connection.send(HEALTH).reply().status == 200
    assert [len(json.loads(replies[at].body)["predictions"]) for at in (0, 2, 4)] == [2, 4, 3]
    assert [replies[at].body for at in (1, 3)] == [b"ok\n"] * 2


def test_very_many_in_one_packet(port):
    """More than Python calls within each other."""
    with Connection(port) as connection:
        connection.send(request(headers={"Connection": "upgrade", "Upgrade": "x"}) * 3_000)
        assert {connection.reply().status for _ in range(3_000)} == {200}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("upgrade", OTHERS)
def test_its_body_is_never_taken_for_a_request(port, upgrade, later):
    head = predict(METRICS, upgrade).removesuffix(METRICS)
    with Connection(port) as connection:
        reply = connection.send(*([head, METRICS] if later else [head + METRICS])).reply()
        assert reply.problem["status"] == 400
        assert "JSON" in reply.problem["detail"]
        assert connection.send(HEALTH).reply().body == b"ok\n", "the next answer is the next request's"


def test_without_a_body(port):
    with Connection(port) as connection:
        for upgrade in OTHERS:
            assert connection.send(request(headers=upgrade)).reply().body == b"ok\n"
        assert connection.send(request("HEAD", headers=H2C)).reply(has_body=False).status == 200
        assert connection.send(predict(b"", H2C)).reply().problem["status"] == 400
        assert connection.send(HEALTH).reply().status == 200


def test_one_that_wants_the_connection_closed_is_answered_first(port):
    for closing in (
        {"Connection": "close, upgrade", "Upgrade": "h2c"},
        {"Upgrade": "h2c", "Connection": "Upgrade, close"},
    ):
        head, body = head_and_body(1, closing, chunked=False)
        with Connection(port) as connection:
            assert rows_of(connection.send(head, body).reply()) == 1
            assert connection.is_closed()
        with Connection(port) as connection:
            assert rows_of(connection.send(head + body + HEALTH).reply()) == 1
            assert connection.is_closed(), "what follows is not looked at"
    with Connection(port) as connection:
        old = b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert connection.send(old).reply().body == b"ok\n"
        assert connection.is_closed()


def test_it_may_wait_to_be_told_to_go_on(port):
    head, body = head_and_body(1, H2C | {"Expect": "100-continue"}, chunked=False)
    with Connection(port) as connection:
        assert connection.send(head).reply().status == 100
        assert rows_of(connection.send(body).reply()) == 1


def test_its_head_has_the_bound_of_any_other(port):
    large = {"X-Large": "x" * protocol.HEAD_BYTES} | H2C
    with Connection(port) as connection:
        assert connection.send(predict(instances(), large)).reply().problem["status"] == 431
        assert connection.is_closed()


@pytest.mark.parametrize("target", ["evil.example:443", "127.0.0.1:8000"])
@pytest.mark.parametrize("upgrade", [{}, H2C])
def test_connect_is_refused_and_nothing_behind_it_is_read(port, target, upgrade):
    for parts in ([request("CONNECT", target, upgrade) + HEALTH], [request("CONNECT", target, upgrade), HEALTH]):
        with Connection(port) as connection:
            assert connection.send(*parts).reply().problem["status"] == 400
            assert connection.is_closed()


def test_what_is_no_http_behind_it_is_refused(port):
    with Connection(port) as connection:
        assert connection.send(request(headers=H2C) + b"no request\r\n\r\n").reply().status in {200, 400}
        assert connection.is_closed()
