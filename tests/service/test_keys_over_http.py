"""API keys over HTTP: scopes, and rotation while requests go on."""

import concurrent.futures
import json
import threading
import time
from collections.abc import Callable

import pytest

from pipeline.service.access import key_file
from pipeline.service.access.admission import LOOK_SECONDS
from tests.service.raw import Connection, ask, instances, predict, request
from tests.service.server import Server
from tests.waiting import until


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    """A service that wants keys."""
    return serve(auth="keys")


@pytest.fixture
def keys_file(server: Server):
    settings = server.application.settings
    return settings.path(settings.service.keys_file)


def test_scopes(server, keys_file):
    keys = {scope: key_file.create(keys_file, scope, [scope])[1] for scope in ("predict", "batch", "admin")}
    time.sleep(LOOK_SECONDS + 0.1)

    def statuses(key: str | None) -> tuple[int, int, int]:
        headers = {"X-API-Key": key} if key else {}
        asked = (predict(instances(), headers), request("GET", "/metrics", headers), request(headers=headers))
        return tuple(ask(server.port, given).status for given in asked)

    assert {scope: statuses(key) for scope, key in keys.items()} == {
        "predict": (200, 403, 200),
        "batch": (403, 403, 200),
        "admin": (200, 200, 200),
    }
    assert statuses(None) == statuses("bm_00000000_x") == (401, 401, 200)
    refused = ask(server.port, predict(instances()))
    assert refused.headers["www-authenticate"] == 'Basic realm="Barometer", Bearer'
    assert "barometer keys create" in refused.problem["do"]


def test_a_body_is_not_read_before_the_key(server):
    assert ask(server.port, predict(b"", {"Content-Length": "100"})).problem["status"] == 401


def test_keys_are_rotated_under_load(server, keys_file):
    old, old_key = key_file.create(keys_file, "shop", ["predict"])
    time.sleep(LOOK_SECONDS + 0.1)
    found: dict[str, list[tuple[float, float, int]]] = {"old": [], "new": []}
    """By key: when each request was sent and answered, and how. A stalled thread only moves these apart."""
    stop = threading.Event()

    def load(name: str, key: str) -> None:
        with Connection(server.port) as connection:
            while not stop.is_set():
                sent = time.monotonic()
                reply = connection.send(predict(instances(), {"Authorization": f"Bearer {key}"})).reply()
                found[name].append((sent, time.monotonic(), reply.status))

    def asked_since(name: str, moment: float) -> bool:
        return bool(found[name]) and found[name][-1][0] > moment

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [pool.submit(load, "old", old_key)]
        try:
            _, new_key = key_file.create(keys_file, "shop", ["predict"])
            time.sleep(LOOK_SECONDS + 0.1)
            running.append(pool.submit(load, "new", new_key))
            until(lambda: found["old"] and found["new"])
            before = time.monotonic()
            key_file.revoke(keys_file, old.id)
            refused_from = time.monotonic() + LOOK_SECONDS
            until(lambda: asked_since("old", refused_from) and asked_since("new", refused_from))
        finally:
            stop.set()
        for each in running:
            each.result()
    assert {status for _, _, status in found["new"]} == {200}
    assert {status for _, answered, status in found["old"] if answered < before} == {200}
    assert {status for sent, _, status in found["old"] if sent > refused_from} == {401}


def test_readiness_says_what_is_wrong_with_the_file(server, keys_file):
    key_file.create(keys_file, "shop", ["predict"])
    good = keys_file.read_text()
    for content, said in ((good, "ok"), ("{", "cannot be read"), (good, "ok")):
        keys_file.write_text(content)
        time.sleep(LOOK_SECONDS + 0.1)
        assert said in json.loads(ask(server.port, request(target="/readyz")).body)["keys"]
