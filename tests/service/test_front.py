"""The front: hosts and origins, request ids, methods, what is hardly HTTP, and who must authenticate where."""

import gzip
import json

import pytest

from pipeline.errors import ConfigError
from pipeline.service.app import Application
from pipeline.service.instances.signature import Signature
from tests.company import company_settings
from tests.service.raw import HEALTH, Connection, ask, instances, predict, request


@pytest.fixture(scope="module")
def port(serve) -> int:
    """Port of a service without keys."""
    return serve().port


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]", "", "0.0.0.0"]
)
def test_another_host_is_refused_on_loopback(port, host):
    """So that no page of another site reaches it by a name that it had point to 127.0.0.1."""
    assert ask(port, request(headers={"Host": host})).problem["status"] == 421
    assert ask(port, predict(instances(), {"Host": host})).problem["status"] == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000"])
def test_its_own_hosts_are_answered(port, host):
    assert ask(port, request(headers={"Host": host})).status == 200


def test_no_host_at_all(port):
    assert ask(port, b"GET /healthz HTTP/1.1\r\n\r\n").problem["status"] in {400, 421}
    assert ask(port, b"GET /healthz HTTP/1.0\r\n\r\n").problem["status"] in {400, 421}


@pytest.mark.parametrize("other", ["127.0.0.1", "localhost", "evil.example", ""])
@pytest.mark.parametrize("names", [("Host", "host"), ("HOST", "Host")])
def test_two_hosts_are_refused(port, names, other):
    """RFC 9112, 3.2: what is in front may look at the one, and this service at the other."""
    for given in ("127.0.0.1", other), (other, "127.0.0.1"):
        headers = {"Host": None} | dict(zip(names, given, strict=True))
        assert ask(port, request(headers=headers)).problem["status"] == 400
        problem = ask(port, predict(instances(), headers)).problem
        assert problem["status"] == 400
        assert "Host" in problem["detail"]


def test_a_list_may_come_in_several_lines(port):
    """RFC 9110, 5.3; of what is no list the last counts."""
    accepts = {"Accept": "image/png", "accept": "text/csv;q=0.9", "ACCEPT": "foo/bar, application/jsonlines;q=0.1"}
    reply = ask(port, predict(instances(), accepts))
    assert reply.headers["content-type"].startswith("text/csv")
    encodings = {"Content-Encoding": "gzip", "content-encoding": "identity"}
    assert ask(port, predict(instances(), encodings)).problem["status"] == 415
    assert ask(port, request(headers={"X-Request-ID": "a", "x-request-id": "b"})).headers["x-request-id"] == "b"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_post_from_another_sites_page_is_refused(port, headers):
    assert ask(port, predict(instances(), headers)).problem["status"] == 403
    assert ask(port, request(headers=headers)).status == 200, "reading is harmless: no answer may be read elsewhere"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
def test_a_post_from_its_own_page_or_no_page_is_answered(port, headers):
    assert ask(port, predict(instances(), headers)).status == 200


def test_no_answer_may_be_read_by_another_sites_page(port):
    reply = ask(port, request(headers={"Origin": "http://evil.example"}))
    assert not [name for name in reply.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("given", ["a", "A-b_c.d:1", "x" * 64])
def test_a_good_request_id_is_echoed(port, given):
    reply = ask(port, predict(b"{", {"X-Request-ID": given}))
    assert reply.headers["x-request-id"] == reply.problem["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "é", "a,b", "<script>", "a/b", "${jndi:x}"])
def test_a_bad_request_id_is_replaced(port, given):
    replies = [ask(port, request(headers={"X-Request-ID": given})) for _ in range(2)]
    ids = {reply.headers["x-request-id"] for reply in replies}
    assert len(ids - {given}) == 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "gzip, gzip"])
def test_a_compressed_body_is_refused(port, encoding):
    """Nothing is inflated that could grow without bound."""
    content = gzip.compress(instances())
    assert ask(port, predict(content, {"Content-Encoding": encoding})).problem["status"] == 415
    assert ask(port, predict(instances(), {"Content-Encoding": "identity"})).status == 200


def test_head_is_get_without_the_body(port):
    for target in ("/healthz", "/readyz", "/openapi.json"):
        got, head = ask(port, request("GET", target)), ask(port, request("HEAD", target), has_body=False)
        assert got.status == head.status == 200
        assert got.headers["content-type"] == head.headers["content-type"]
        assert got.body
        with Connection(port) as connection:  # a body would be taken for the next answer
            connection.send(request("HEAD", target)).reply(has_body=False)
            assert connection.send(HEALTH).reply().body == b"ok\n"


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "GET", "HEAD", "PROPFIND"])
def test_another_method_is_refused_with_those_there_are(port, method):
    reply = ask(port, request(method, "/predict"), has_body=method != "HEAD")
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    assert ask(port, request(method, "/nothing"), has_body=method != "HEAD").status == 404


def test_allow_names_head_beside_get(port):
    assert ask(port, request("POST", "/healthz")).headers["allow"] == "GET, HEAD"


def test_pipelined_requests_are_answered_in_order(port):
    bodies = [instances(1), b"{", instances(2), b"[]", instances(3)]
    with Connection(port) as connection:
        connection.send(b"".join(predict(body, {"X-Request-ID": str(at)}) for at, body in enumerate(bodies)))
        replies = [connection.reply() for _ in bodies]
    assert [reply.headers["x-request-id"] for reply in replies] == ["0", "1", "2", "3", "4"]
    assert [reply.status for reply in replies] == [200, 400, 200, 422, 200]
    counts = [len(json.loads(reply.body)["predictions"]) for reply in replies if reply.status == 200]
    assert counts == [1, 2, 3]


@pytest.mark.parametrize(
    "given",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n X: y\r\nbad\x00name: x\r\n\r\n",
        request("POST", "/predict", {"Content-Length": "x"}),
        request("POST", "/predict", {"Content-Length": "-1"}),
        request("POST", "/predict", {"Content-Length": "9" * 30}),
        request("POST", "/predict", {"Content-Length": "5", "Transfer-Encoding": "chunked"}) + b"0\r\n\r\n",
        request("POST", "/predict", {"Transfer-Encoding": "chunked"}) + b"zz\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(port, given):
    with Connection(port) as connection:
        reply = connection.send(given).reply()
        assert reply.problem["status"] in {400, 404}
        assert connection.is_closed(6)


@pytest.mark.parametrize("target", ["/%", "/%ff%00", "//predict", "/predict/", "/../etc/passwd", "/%2e%2e/x", "*"])
def test_strange_targets_are_refused(port, target):
    assert ask(port, request(target=target)).problem["status"] in {400, 404, 405}


def test_an_upgrade_is_not_made(port):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert ask(port, request(headers=headers)).status in {200, 400}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "barometer.example"])
def test_beyond_loopback_somebody_must_authenticate(company, tmp_path, model_folder, host):
    here = {"SERVICE__HOST": host, "SERVICE__MODEL_FOLDER": str(model_folder)}
    with pytest.raises(ConfigError, match="auth"):
        Application(company_settings(company, tmp_path, **here))
    for auth in ("keys", "platform"):
        application = Application(company_settings(company, tmp_path, **here, SERVICE__AUTH=auth))
        assert (application.keyring is not None) == (auth == "keys")


def test_a_bug_is_answered_with_500_and_its_reason_is_in_the_log_alone(port, monkeypatch, caplog):
    monkeypatch.setattr(Signature, "fast", lambda *_: 1 / 0)
    problem = ask(port, predict(instances())).problem
    assert (problem["status"], "The service failed." in problem["detail"]) == (500, True)
    assert "division by zero" not in str(problem)
    assert "ZeroDivisionError: division by zero" in caplog.text
