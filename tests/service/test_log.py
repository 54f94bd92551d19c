"""The log of a service in a process of its own: a line for each request, and nothing that anybody sent in it."""

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.service.access import key_file
from tests.end_to_end.airflow import free_ports
from tests.service.raw import ROW, Connection, ask, predict, request

MARK = "m4rk3d"
"""In everything that is sent and is nobody's business."""
SERVE = (
    "from pipeline.settings import load_settings; from pipeline.service.process import serve; serve(load_settings())"
)


@pytest.fixture(scope="module")
def service(company: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """The port, a key, and a function that ends the process and returns its log's lines."""
    home = tmp_path_factory.mktemp("home")
    _, key = key_file.create(home / "service" / "keys.json", "shop", ["predict"])
    (port,) = free_ports(1)
    changes = {
        "CONFIG": str(company / "pipeline.toml"),
        "HOME": str(home),
        "_SERVICE__PORT": str(port),
        "_SERVICE__AUTH": "keys",
        "_SERVICE__MODEL_FOLDER": str(model_folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env=os.environ | {f"BAROMETER_{name}": value for name, value in changes.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    _wait_for(port, process)

    def ended() -> bytes:
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=60)[0]

    yield port, key, ended
    process.kill()
    process.communicate()


def test_nothing_that_was_sent_is_in_the_log(service):
    port, key, ended = service
    marked = [
        json.dumps({"instances": [ROW | {"kind": MARK, "customer_id": MARK, "product_id": MARK}]}),
        json.dumps({"instances": [ROW | {"events": MARK}]}),
        json.dumps({"instances": [ROW | {MARK: 1}]}),
        json.dumps({MARK: 1}),
        "{" + MARK,
    ]
    keys = [
        {"X-API-Key": key},
        {"X-API-Key": key[:-1] + MARK},
        {"Authorization": f"Bearer bm_{MARK}"},
        {"Authorization": "Basic " + b64encode(f"{MARK}:{key}{MARK}".encode()).decode()},
    ]
    asked = [
        predict(body.encode(), given | {"X-Request-ID": f"{way}-{what}"})
        for way, given in enumerate(keys)
        for what, body in enumerate(marked)
    ]
    asked += [
        request(target=f"/predictions/{MARK}/{MARK}?a={MARK}", headers=keys[0]),
        request(target=f"/{MARK}?key={MARK}", headers={"Cookie": MARK, "User-Agent": MARK, "X-Request-ID": MARK + "!"}),
        request("PUT", "/predict", {"Origin": f"http://{MARK}"}),
        request(headers={"Host": MARK}),
        f"{MARK} / HTTP/1.1\r\n\r\n".encode(),
        request("POST", "/predict", {"Content-Length": MARK}),
    ]
    statuses = [ask(port, given).status for given in asked]
    assert statuses[0] == 200
    assert not {status for status in statuses if status >= 500} - {501}, "there is no warehouse"
    with Connection(port) as connection:
        connection.send(predict(marked[0].encode(), keys[0])[:-1])  # and goes away
    text = ended()
    lines = [json.loads(line) for line in text.splitlines()]
    assert MARK.encode() not in text
    assert key.split("_", 2)[2].encode() not in text
    told = {line["request_id"]: line for line in lines if "request_id" in line}
    assert told["0-0"]["route"] == "/predict"
    assert (told["0-0"]["status"], told["0-0"]["rows"], told["0-0"]["key"]) == (200, 1, "shop")
    assert told["0-1"]["status"] == 422
    assert told["1-0"]["status"] == 401
    assert "key" not in told["1-0"]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if ask(port, request(target="/readyz")).status == 200:
                return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0].decode() if process.poll() is not None else "it is never ready")
