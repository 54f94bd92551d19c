"""MLflow's scoring protocol: its forms, its form of errors, and the missing values that pandas writes."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.service.asking import CSV, FEATURES, JSON, LINES, WAYS, as_csv, as_object

GOOD: list[list[Any]] = [[3, 20.5, True, "a"], [None, 7.0, False, "never seen"], [40, None, None, None]]
BAD = [3, "many", True, "a"]
MIXED = [GOOD[0], BAD, GOOD[1]]


@pytest.fixture(scope="module")
def client(serve) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serve(rows=50, body_bytes=20_000).url) as client:
        yield client


@pytest.fixture(scope="module")
def numbers(client) -> list[float]:
    """Satisfaction of the good rows."""
    return [found["satisfaction"] for found in WAYS["barometer"]["own JSON to application/json"](client, GOOD)]


def objects(rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [as_object(row) for row in rows]


def invoked(client: httpx.Client, body: Any, kind: str = JSON, path: str = "/invocations") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"content-type": kind})


def test_mlflows_probes_and_version_are_answered(client):
    import mlflow

    for path in ("/ping", "/health"):
        answered = client.get(path)
        assert (answered.status_code, answered.text) == (200, "\n")
    assert client.get("/version").text == mlflow.__version__


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"params": {}},
        {"instances": objects(GOOD), "inputs": objects(GOOD)},
        {"dataframe_split": objects(GOOD)},
        {"dataframe_split": {"columns": FEATURES}},
        {"dataframe_split": {"columns": FEATURES[:3], "data": GOOD}},
        {"dataframe_split": {"columns": [*FEATURES[:3], "events"], "data": GOOD}},
        {"dataframe_records": {}},
        {"dataframe_records": []},
        {"inputs": {name: [1] * at for at, name in enumerate(FEATURES)}},
        {"inputs": {}},
        {"inputs": {"events": 1}},
        {"inputs": 1},
        {"instances": objects(GOOD), "params": []},
        {"instances": [{**as_object(GOOD[0]), "more": 1}]},
    ],
)
def test_mlflow_refuses_other_forms(body, client):
    answered = invoked(client, body)
    assert answered.status_code == 422, answered.text
    assert answered.headers["content-type"] == JSON
    assert answered.json()["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("beyond", ["Infinity", "-Infinity", "1e400", "-1e400", "1e39"])
@pytest.mark.parametrize("beside", ["NaN", "1"])
def test_mlflow_refuses_an_infinite_number_and_reads_nan_as_missing(beyond, beside, client):
    rows = [GOOD[0], ["beside", "beyond", True, "a"]]
    forms = {
        "dataframe_split": {"columns": FEATURES, "data": rows},
        "dataframe_records": objects(rows),
        "instances": rows,
        "inputs": {name: [row[at] for row in rows] for at, name in enumerate(FEATURES)},
    }
    for form, given in forms.items():
        body = json.dumps({form: given}).replace('"beside"', beside).replace('"beyond"', beyond)
        answered = invoked(client, body.encode())
        assert answered.status_code == 422, answered.text
        assert "amount" in answered.json()["message"] or form == "inputs"
        assert invoked(client, body.replace(beyond, "NaN").encode()).status_code == 200, "NaN stays missing"


def test_mlflow_names_the_row_and_the_field(client):
    forms = {
        "dataframe_split": {"columns": FEATURES, "data": MIXED},
        "dataframe_records": objects(MIXED),
        "instances": objects(MIXED),
        "inputs": {name: [row[at] for row in MIXED] for at, name in enumerate(FEATURES)},
    }
    for form, rows in forms.items():
        answered = invoked(client, {form: rows})
        assert answered.status_code == 422
        assert "row 1, field amount" in answered.json()["message"]
        assert "many" not in answered.text
    assert "[field inputs]" in invoked(client, {"inputs": 1}).json()["message"]
    answered = invoked(client, as_csv(MIXED, FEATURES), CSV)
    assert (answered.status_code, "row 1, field amount" in answered.json()["message"]) == (422, True)


def test_mlflow_refuses_in_its_own_form(client):
    for body, kind, status, code in [
        (b"{", JSON, 400, "BAD_REQUEST"),
        (b"", JSON, 400, "BAD_REQUEST"),
        (b'{"instances": [Infinity]}', JSON, 422, "BAD_REQUEST"),
        ({"instances": objects(GOOD)}, LINES, 415, "BAD_REQUEST"),
        ({"instances": objects(GOOD)}, "", 415, "BAD_REQUEST"),
        ({"instances": objects(GOOD)}, "application/json; charset=utf-16", 415, "BAD_REQUEST"),
        (b'"', CSV, 400, "BAD_REQUEST"),
        (b"", CSV, 400, "BAD_REQUEST"),
        (as_csv(GOOD, (*FEATURES[:3], "price")), CSV, 422, "BAD_REQUEST"),
        ({"instances": objects(GOOD * 17)}, JSON, 413, "BAD_REQUEST"),
        (as_csv([*GOOD * 17, BAD], FEATURES), CSV, 413, "BAD_REQUEST"),
        ({"inputs": {name: [1] * 51 for name in FEATURES}}, JSON, 413, "BAD_REQUEST"),
        (b"x" * 20_001, JSON, 413, "BAD_REQUEST"),
    ]:
        answered = invoked(client, body, kind)
        assert (answered.status_code, answered.json()["error_code"]) == (status, code), (body, kind)
        assert set(answered.json()) == {"error_code", "message"}


def test_mlflow_csv_may_say_that_it_has_no_header(client, numbers):
    found = invoked(client, as_csv(GOOD, None), f"{CSV}; header=absent; charset=UTF-8").json()["predictions"]
    assert [row["satisfaction"] for row in found] == numbers


def test_nan_is_read_as_missing_where_pandas_writes_it(client, serve, numbers):
    nan = float("nan")
    rows = [[nan if cell is None else cell for cell in row] for row in GOOD]
    frame = {"columns": FEATURES, "index": [0, 1, 2], "data": rows}
    tensors = [
        {
            "name": name,
            "shape": [3],
            "datatype": "FP64" if name != "kind" else "BYTES",
            "data": [row[at] for row in rows],
        }
        for at, name in enumerate(FEATURES)
    ]
    by_mlflow = invoked(client, {"dataframe_split": frame}).json()["predictions"]
    with httpx.Client(base_url=serve(contract="azure").url) as azure:
        by_azure = invoked(azure, {"input_data": frame}, path="/score").json()["predictions"]
    by_infer = invoked(client, {"inputs": tensors}, path="/v2/models/satisfaction/infer").json()["outputs"][0]
    assert [row["satisfaction"] for row in by_mlflow] == [row["satisfaction"] for row in by_azure] == numbers
    assert by_infer["data"] == numbers


@pytest.mark.parametrize("body", [b'{"instances": [NaN', b'{"instances": ' + b"[" * 5_000 + b"NaN"])
def test_mlflow_refuses_what_is_not_json_even_with_nan(body, client):
    assert invoked(client, body).status_code == 400
