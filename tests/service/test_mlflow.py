"""MLflow's scoring protocol: its forms, its form of errors, and its probes."""

from collections.abc import Iterator

import httpx
import pytest

from tests.service.asking import BAD, CSV, FEATURES, GOOD, JSON, LINES, MIXED, WAYS, as_csv, as_object, invoked, objects


@pytest.fixture(scope="module")
def client(serve) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serve(rows=50, body_bytes=20_000).url) as client:
        yield client


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
    for body, kind, status in [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b'{"instances": [NaN', JSON, 400),
        (b'{"instances": ' + b"[" * 5_000 + b"NaN", JSON, 400),
        (b'{"instances": [{"kind": "\xff"}]}', JSON, 400),
        (b'{"instances": [Infinity]}', JSON, 422),
        ({"instances": objects(GOOD)}, LINES, 415),
        ({"instances": objects(GOOD)}, "", 415),
        ({"instances": objects(GOOD)}, "application/json; charset=utf-16", 415),
        (as_csv(GOOD, FEATURES), f"{CSV}; header=foo", 415),
        (b'"', CSV, 400),
        (b"", CSV, 400),
        (as_csv(GOOD, (*FEATURES[:3], "price")), CSV, 422),
        ({"instances": objects(GOOD * 17)}, JSON, 413),
        (as_csv([*GOOD * 17, BAD], FEATURES), CSV, 413),
        ({"inputs": {name: [1] * 51 for name in FEATURES}}, JSON, 413),
        (b"x" * 20_001, JSON, 413),
    ]:
        answered = invoked(client, body, kind)
        assert (answered.status_code, answered.json()["error_code"]) == (status, "BAD_REQUEST"), (body, kind)
        assert set(answered.json()) == {"error_code", "message"}


def test_mlflow_csv_may_say_that_it_has_no_header(client):
    found = invoked(client, as_csv(GOOD, None), f"{CSV}; header=absent; charset=UTF-8").json()["predictions"]
    assert found == WAYS["barometer"]["MLflow CSV"](client, GOOD)
