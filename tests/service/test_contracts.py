"""Each contract: its routes, its form of errors, its media types, a bad row among good ones."""

import json
import math
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.service.asking import (
    CSV,
    EVERY_WAY,
    FEATURES,
    GOOD,
    JSON,
    LINES,
    MIXED,
    WAYS,
    as_csv,
    clients_of,
    invoked,
    json_lines,
    objects,
    of_csv,
    shuffled,
    tensor,
)

PREDICTION = {"satisfaction", "satisfied", "model_version", "role", "words"}
PATHS = {"sagemaker": "/invocations", "vertex": "/predict", "azure": "/score"}


@pytest.fixture(scope="module")
def clients(serve) -> Iterator[dict[str, httpx.Client]]:
    with clients_of(serve, rows=50, body_bytes=20_000) as found:
        yield found


@pytest.fixture(scope="module")
def numbers(clients) -> list[float]:
    """Satisfaction of the good rows."""
    return [found["satisfaction"] for found in WAYS["vertex"]["objects"](clients["vertex"], GOOD)]


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


def test_without_a_model_a_probe_and_a_prediction_answer_503(serve, tmp_path):
    probes = {"barometer": ["/ping", "/health", "/v2/health/ready"], "sagemaker": ["/ping"], "vertex": ["/health"]}
    with clients_of(serve, model_folder=tmp_path) as empty:
        for contract, paths in (probes | {"azure": ["/"]}).items():
            for path in ("/readyz", *paths):
                assert empty[contract].get(path).status_code == 503, (contract, path)
            answered = invoked(empty[contract], {"instances": objects(GOOD)}, path=PATHS.get(contract, "/predict"))
            assert answered.status_code == 503
            assert "retry-after" in answered.headers
            document = empty[contract].get("/openapi.json").json()
            assert document["components"]["schemas"]["Instance"] == {"type": "object"}
        assert empty["barometer"].get("/v2/health/live").json() == {"live": True}


JSON_OF_OTHERS = re.compile("azure|MLflow (?!CSV)|Open Inference(?!, binary)")


@pytest.mark.parametrize(("contract", "way"), [way for way in EVERY_WAY if JSON_OF_OTHERS.search(" ".join(way))])
def test_nan_is_read_as_missing_where_pandas_writes_it(contract, way, clients, numbers):
    rows = [[math.nan if cell is None else cell for cell in row] for row in GOOD]
    assert [found["satisfaction"] for found in WAYS[contract][way](clients[contract], rows)] == numbers


@pytest.mark.parametrize("beyond", ["Infinity", "-Infinity", "1e400", "1e39"])
@pytest.mark.parametrize("beside", ["NaN", "1"])
def test_an_infinite_number_is_refused_even_beside_nan(beyond, beside, clients):
    rows = [["beside", "beyond", True, "a"]]
    tensors = [tensor(name, [cell], deep=False) for name, cell in zip(FEATURES, rows[0], strict=True)]
    for contract, path, body in [
        ("azure", "/score", {"input_data": shuffled(rows)}),
        ("azure", "/score", {"input_data": objects(rows)}),
        ("barometer", "/invocations", {"dataframe_split": shuffled(rows)}),
        ("barometer", "/invocations", {"instances": rows}),
        ("barometer", "/v2/models/satisfaction/infer", {"inputs": tensors}),
    ]:
        text = json.dumps(body).replace('"beside"', beside).replace('"beyond"', beyond)
        answered = invoked(clients[contract], text.encode(), path=path)
        assert answered.status_code == (200 if contract == "azure" else 400 if "infer" in path else 422)
        assert "amount" in answered.text or "infer" in path, (body, answered.text)


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
