"""Each contract: its routes, its form of errors, its media types, a bad row among good ones."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.service.asking import (
    CSV,
    FEATURES,
    JSON,
    LINES,
    WAYS,
    as_csv,
    as_object,
    json_lines,
    of_csv,
)

GOOD: list[list[Any]] = [[3, 20.5, True, "a"], [None, 7.0, False, "never seen"], [40, None, None, None]]
BAD = [3, "many", True, "a"]
MIXED = [GOOD[0], BAD, GOOD[1]]
PREDICTION = {"satisfaction", "satisfied", "model_version", "role", "words"}
PATHS = {"sagemaker": "/invocations", "vertex": "/predict", "azure": "/score"}


@pytest.fixture(scope="module")
def clients(serve) -> Iterator[dict[str, httpx.Client]]:
    found = {
        contract: httpx.Client(base_url=serve(contract=contract, rows=50, body_bytes=20_000).url) for contract in WAYS
    }
    yield found
    for client in found.values():
        client.close()


@pytest.fixture(scope="module")
def empty_clients(serve, tmp_path_factory) -> Iterator[dict[str, httpx.Client]]:
    """Of services whose model folder is empty."""
    folder = tmp_path_factory.mktemp("no model")
    found = {contract: httpx.Client(base_url=serve(contract=contract, model_folder=folder).url) for contract in WAYS}
    yield found
    for client in found.values():
        client.close()


@pytest.fixture(scope="module")
def numbers(clients) -> list[float]:
    """Satisfaction of the good rows."""
    return [found["satisfaction"] for found in WAYS["vertex"]["objects"](clients["vertex"], GOOD)]


def objects(rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [as_object(row) for row in rows]


def invoked(client: httpx.Client, body: Any, kind: str = JSON, path: str = "/invocations", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"content-type": kind, **headers})


# Every contract


def test_a_contract_has_its_own_routes_and_no_other(clients):
    routes = {
        "barometer": {"/invocations", "/v2", "/ping", "/health", "/predict"},
        "sagemaker": {"/ping", "/invocations", "/execution-parameters"},
        "vertex": {"/health", "/predict"},
        "azure": {"/score"},
    }
    for contract, client in clients.items():
        for path in set.union(*routes.values()):
            is_there = client.get(path).status_code != 404
            assert is_there == (path in routes[contract]), (contract, path)
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert client.get(path).status_code == 200, (contract, path)


def test_without_a_model_a_probe_and_a_prediction_answer_503(empty_clients):
    probes = {"barometer": ["/ping", "/health", "/v2/health/ready"], "sagemaker": ["/ping"], "vertex": ["/health"]}
    for contract, paths in (probes | {"azure": ["/"]}).items():
        for path in paths:
            assert empty_clients[contract].get(path).status_code == 503, (contract, path)
    for contract, path in (PATHS | {"barometer": "/invocations"}).items():
        answered = invoked(empty_clients[contract], {"instances": objects(GOOD)}, path=path)
        assert answered.status_code == 503
        assert "retry-after" in answered.headers
    assert empty_clients["barometer"].get("/v2/health/live").json() == {"live": True}


def test_the_document_describes_every_route(clients):
    for contract, client in clients.items():
        paths = client.get("/openapi.json").json()["paths"]
        expected = {"barometer": "/v2/models/{model}/infer"} | PATHS
        body = paths[expected[contract]]["post"]["requestBody"]["content"][JSON]["example"]
        path = expected[contract].replace("{model}", "satisfaction")
        assert invoked(client, body, path=path).status_code == 200, (contract, body)


@pytest.mark.parametrize("contract", PATHS)
def test_a_cloud_answers_a_bad_row_in_its_place(contract, clients, numbers):
    client = clients[contract]
    found = invoked(client, {"instances": objects(MIXED)}, path=PATHS[contract]).json()["predictions"]
    assert [row.get("satisfaction") for row in found] == [numbers[0], None, numbers[1]]
    assert set(found[1]) == {"error", "expected", "do", "field"}
    assert found[1]["field"] == "amount"
    assert "many" not in json.dumps(found)


@pytest.mark.parametrize("contract", PATHS)
@pytest.mark.parametrize("row", [None, 1, "x", [], [1], {}, {"kind": 1}, [[1, 2, 3, 4]], [*GOOD[0], 1]])
def test_a_cloud_answers_any_junk_among_the_rows_in_its_place(contract, row, clients, numbers):
    found = invoked(clients[contract], {"instances": [*objects(GOOD), row]}, path=PATHS[contract])
    assert found.status_code == 200, found.text
    assert [each.get("satisfaction") for each in found.json()["predictions"]] == [*numbers, None]
    assert found.json()["predictions"][3]["error"]


@pytest.mark.parametrize("contract", PATHS)
def test_a_cloud_refuses_a_request_that_is_wrong_as_a_whole(contract, clients):
    client, path = clients[contract], PATHS[contract]
    one = objects(GOOD[:1])
    for body, status in [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"instances":' + b"[" * 10_000, 400),
        ({}, 422),
        ([], 422),
        ({"instances": []}, 422),
        ({"instances": {}}, 422),
        ({"instances": 1}, 422),
        ({"instances": one * 400}, 413),
    ]:
        answered = invoked(client, body, path=path)
        assert (answered.status_code, answered.headers["content-type"]) == (status, "application/problem+json"), body
    for kind in ("text/plain", "application/xml", "application/json; charset=latin-1", ""):
        assert invoked(client, {"instances": one}, kind, path).status_code == 415, kind
    if contract != "sagemaker":
        for rows in (one * 51, [1] * 51):
            assert invoked(client, {"instances": rows}, path=path).status_code == 413


# Amazon SageMaker


def test_sagemaker_is_answered_its_ping_and_its_execution_parameters(clients, serve):
    ping = clients["sagemaker"].get("/ping")
    assert (ping.status_code, ping.content) == (200, b"")
    small = clients["sagemaker"].get("/execution-parameters").json()
    assert small == {"MaxConcurrentTransforms": 8, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1}
    for megabytes, at_once, expected in ((6, 256, 8), (6, 2, 2), (20, 256, 5), (100, 256, 1)):
        server = serve(contract="sagemaker", body_bytes=megabytes * 2**20, concurrent_requests=at_once)
        found = httpx.get(f"{server.url}/execution-parameters").json()
        assert found == {
            "MaxConcurrentTransforms": expected,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": megabytes,
        }


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (LINES, json_lines(objects(GOOD[:1])) + b'{"events": \n[1, 2\n\n"x"\n\xff\n' + json_lines(GOOD[1:])),
        (LINES, json_lines(GOOD[:1]) + b"[1]\n{}\n[]\nnull\nNaN\n" + json_lines(objects(GOOD[1:]))),
        (CSV, as_csv(GOOD[:1], None) + b'"\n1,2,0,"a"b\n\nx,2,,a\n1,2,0,\xff\n' + as_csv(GOOD[1:], None)),
        (
            CSV,
            b"\xef\xbb\xbf"
            + as_csv(GOOD[:1], None)
            + b"1\n,,,,\n1;2;3;4\n1,2,0,a\0,\n1,1e39,0,a\n"
            + as_csv(GOOD[1:], None),
        ),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", CSV, LINES, JSON])
def test_a_bad_line_does_not_affect_the_others_in_sagemaker(kind, body, accept, clients, numbers):
    answered = invoked(clients["sagemaker"], body, kind, accept=accept)
    assert answered.status_code == 200, answered.text
    wanted = kind if accept == "*/*" else accept
    assert answered.headers["content-type"].split(";")[0] == wanted
    if wanted == JSON:
        found = answered.json()["predictions"]
    else:
        assert len(answered.content.splitlines()) == len(body.splitlines()) == 8
        found = of_csv(answered) if wanted == CSV else [json.loads(line) for line in answered.content.splitlines()]
    assert [row.get("satisfaction") for row in found] == [numbers[0], *[None] * 5, *numbers[1:]]
    assert all(row["error"] for row in found[1:6])


def test_sagemaker_may_send_more_lines_than_service_rows(clients, numbers):
    lines = as_csv(GOOD[:1] * 1000, None)
    assert len(lines) < 20_000, "the limit of bytes is what counts"
    found = of_csv(invoked(clients["sagemaker"], lines, CSV))
    assert [row["satisfaction"] for row in found] == numbers[:1] * 1000


def test_sagemaker_refuses_a_wrong_header(clients):
    header = f"{CSV}; header=present"
    for column, field in (("price", "price"), ("kind", "kind"), ("customer_id", "amount")):
        answered = invoked(clients["sagemaker"], as_csv(GOOD, ["kind", "is_busy", "events", column]), header)
        assert (answered.status_code, answered.json()["field"]) == (422, field)
    assert invoked(clients["sagemaker"], b'"a"b\n1\n', header).status_code == 422
    assert invoked(clients["sagemaker"], b"", header).status_code == 422
    assert invoked(clients["sagemaker"], as_csv(GOOD, None), CSV, accept="image/png").status_code == 406


# Azure ML


def test_azure_reads_columns_by_their_names(clients, numbers):
    frame = {"columns": ["kind", "is_busy", "events", "amount"], "data": [[k, b, e, a] for e, a, b, k in GOOD]}
    found = invoked(clients["azure"], {"input_data": frame}, path="/score").json()["predictions"]
    assert [row["satisfaction"] for row in found] == numbers
    frame["data"][1] = ["a"]
    found = invoked(clients["azure"], {"input_data": frame}, path="/score").json()["predictions"]
    assert [row.get("satisfaction") for row in found] == [numbers[0], None, numbers[2]]
    for column, field in (("price", "price"), ("kind", "kind"), ("customer_id", "amount")):
        wrong = frame | {"columns": ["kind", "is_busy", "events", column]}
        answered = invoked(clients["azure"], {"input_data": wrong}, path="/score")
        assert (answered.status_code, answered.json()["field"]) == (422, field)


def test_azure_limits_the_rows_of_a_frame_good_or_bad(clients):
    for rows in (GOOD[:1] * 51, [1] * 51):
        answered = invoked(clients["azure"], {"input_data": {"columns": FEATURES, "data": rows}}, path="/score")
        assert answered.status_code == 413


@pytest.mark.parametrize("beyond", ["Infinity", "-Infinity", "1e400", "-1e400", "1e39"])
@pytest.mark.parametrize("beside", ["NaN", "1"])
def test_azure_refuses_an_infinite_number_and_reads_nan_as_missing(beyond, beside, clients):
    rows = [["beside", "beyond", True, "a"], GOOD[0]]
    for given in ({"columns": FEATURES, "data": rows}, rows, objects(rows)):
        body = json.dumps({"input_data": given}).replace('"beside"', beside).replace('"beyond"', beyond)
        found = invoked(clients["azure"], body.encode(), path="/score").json()["predictions"]
        assert (found[0].get("field"), set(found[1])) == ("amount", PREDICTION), body
        found = invoked(clients["azure"], body.replace(beyond, "NaN").encode(), path="/score").json()["predictions"]
        assert set(found[0]) == PREDICTION, "NaN stays missing"


def test_azure_takes_one_form_at_a_time(clients):
    rows = objects(GOOD)
    for body in (
        {"data": rows, "instances": rows},
        {"input_data": {"columns": FEATURES}},
        {"input_data": {"data": rows, "columns": [1]}},
        {"data": rows, "params": 1},
        {"input_data": "x"},
    ):
        assert invoked(clients["azure"], body, path="/score").status_code == 422, body
    assert clients["azure"].get("/").text == "Healthy\n"


# Google Vertex AI


def test_vertex_answers_at_the_paths_of_its_environment(serve, monkeypatch, numbers):
    path = "/v1/endpoints/1234/deployedModels/56"
    monkeypatch.setenv("AIP_HEALTH_ROUTE", path)
    monkeypatch.setenv("AIP_PREDICT_ROUTE", f"{path}:predict")
    with httpx.Client(base_url=serve(contract="vertex").url) as client:
        assert client.get(path).status_code == 200
        assert client.get("/health").status_code == 404
        found = invoked(client, {"instances": GOOD}, path=f"{path}:predict").json()["predictions"]
        assert [row["satisfaction"] for row in found] == numbers
        assert all(set(row) == PREDICTION for row in found)
        assert invoked(client, {"instances": GOOD, "parameters": []}, path=f"{path}:predict").status_code == 422
