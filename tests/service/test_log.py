"""The log of a service in a process of its own: a line for each request, and nothing that anybody sent in it."""

import json
from base64 import b64encode
from pathlib import Path

from pipeline.service.access import key_file
from pipeline.settings import Settings
from tests.service.raw import ROW, Connection, ask, predict, request
from tests.service.started import started

MARK = "m4rk3d"
"""In everything that is sent and must not be logged."""


def test_nothing_that_was_sent_is_in_the_log(settings: Settings, model_folder: Path):
    key = key_file.create(settings.path(settings.service.keys_file), "shop", ["predict"])[1]
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
    with started(settings, auth="keys", model_folder=model_folder) as service:
        statuses = [ask(service.port, given).status for given in asked]
        assert statuses[0] == 200
        assert not {status for status in statuses if status >= 500} - {501}, "there is no warehouse"
        with Connection(service.port) as connection:
            connection.send(predict(marked[0].encode(), keys[0])[:-1])  # and goes away
        service.process.terminate()
        service.process.wait(60)
        text = service.log()
    lines = [json.loads(line) for line in text.splitlines()]
    assert MARK not in text
    assert key.split("_", 2)[2] not in text
    told = {line["request_id"]: line for line in lines if "request_id" in line}
    assert told["0-0"]["route"] == "/predict"
    assert (told["0-0"]["status"], told["0-0"]["rows"], told["0-0"]["key"]) == (200, 1, "shop")
    assert told["0-1"]["status"] == 422
    assert told["1-0"]["status"] == 401
    assert "key" not in told["1-0"]
