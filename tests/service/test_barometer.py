"""`POST /predict`: every form of request and answer, wrong requests, and subjects of an A/B test."""

import json

import httpx
import pytest

from pipeline.errors import RequestError
from pipeline.models.scoring.scorer import Scorer
from pipeline.service.instances.bodies import negotiated
from tests.service.asking import CSV, JSON, LINES, as_object
from tests.service.asking import FEATURES as NAMES
from tests.service.calls import call_of
from tests.service.server import VERSION, Server, running
from tests.service.versions import ROWS, answers_of, record_batch, routed, standing

INSTANCES = [as_object(row) for row in ROWS]
REVERSED = [dict(reversed(instance.items())) for instance in INSTANCES]
CSV_LINES = [",".join("" if value is None else str(value) for value in row) for row in ROWS]


@pytest.fixture(scope="module")
def service(serve) -> Server:
    return serve(rows=50)


@pytest.fixture(scope="module")
def numbers(service: Server) -> list[float]:
    """The batch's scores of the same rows."""
    scorer: Scorer = service.application.current.serving.champion.scorer
    return scorer.score(record_batch(ROWS, scorer.features)).column("satisfaction").to_pylist()


def post(
    service: Server, content: str | bytes, kind: str = JSON, accept: str | None = None, query: str = ""
) -> httpx.Response:
    headers = {"content-type": kind} | ({"accept": accept} if accept else {})
    return httpx.post(f"{service.url}/predict{query}", content=content, headers=headers)


def in_json(instances: list[dict[str, object]]) -> str:
    return json.dumps({"instances": instances})


BODIES = {
    "JSON": (in_json(INSTANCES), JSON),
    "JSON, spaced and reordered": (json.dumps({"instances": REVERSED}, indent=2), "Application/JSON; charset=utf-8"),
    "JSON Lines": ("\n".join(map(json.dumps, INSTANCES)) + "\n\n", "application/jsonlines"),
    "jsonl": ("\n".join(map(json.dumps, INSTANCES)), "application/jsonl"),
    "ndjson": ("\r\n".join(map(json.dumps, INSTANCES)), "application/x-ndjson"),
    "CSV": ("\n".join([",".join(NAMES), *CSV_LINES]), "text/csv"),
    "CSV with a byte order mark": ("\ufeff" + "\r\n".join([",".join(NAMES), *CSV_LINES]), "text/csv; charset=utf-8"),
    "CSV without a header": ("\n".join(CSV_LINES) + "\n", 'text/csv; charset="UTF-8"; header="absent"'),
    "CSV in another order": (
        "\n".join(["kind,is_busy,amount,events", *(",".join(reversed(line.split(","))) for line in CSV_LINES)]),
        "text/csv; header=present",
    ),
}


@pytest.mark.parametrize("form", BODIES)
def test_every_form_gives_the_batchs_numbers(form, service, numbers):
    body, kind = BODIES[form]
    answer = post(service, body, kind)
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert [prediction["satisfaction"] for prediction in predictions] == numbers
    assert {prediction["model_version"] for prediction in predictions} == {VERSION}
    assert {prediction["role"] for prediction in predictions} == {"champion"}
    for prediction in predictions:
        assert prediction["satisfied"] is (prediction["satisfaction"] >= 0.5)
        percent = round(100 * prediction["satisfaction"])
        assert f"{percent} of 100 such customers" in prediction["words"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("", JSON),
        ("text/*;q=0.9, application/json;q=0.1", CSV),
        ("TEXT/CSV;q=0.3, application/jsonlines;q=0.4", LINES),
        ("application/x-ndjson", LINES),
        ("application/jsonlines;q=0.2, image/png", LINES),
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("*/*, text/csv", JSON),
        ("application/json;q=0, */*", CSV),
        ("*/*, application/json;q=0.0", CSV),
        ("*/*;q=0.5, application/json;q=0, text/*;q=0", LINES),
        ("application/*, application/json;q=0", LINES),
        ("application/*;q=0, */*;q=0.1", CSV),
        ("*/*, application/json;q=0.5", CSV),
        ("*/*;q=0.5, text/csv;q=0.1, application/*;q=0.4, application/jsonl;q=0.6", LINES),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("text/html, image/gif, *; q=.2, */*; q=.2", JSON),
        ("application/json;q=0.9, text/csv;q=7", CSV),
        ("text/csv;header=present;q=0.1, text/csv, application/json;q=0.9", CSV),
        ("image/png", 406),
        ("application/json;q=0", 406),
        ("*/*;q=0", 406),
        ("application/json;q=nan", 406),
        ("application/json;q=x", 406),
        ("text/csv;q=0, application/json;q=0, application/jsonlines;q=0, */*", 406),
        ("text/*;q=0, application/*;q=0, */*", 406),
    ],
)
def test_accept_chooses_the_answers_form(accept, kind):
    call = call_of(headers={"accept": accept} if accept is not None else {})
    if kind == 406:
        with pytest.raises(RequestError) as refused:
            negotiated(call)
        assert refused.value.status == 406
    else:
        assert negotiated(call) == kind


@pytest.mark.parametrize("default", [JSON, CSV, LINES])
def test_a_request_that_accepts_any_form_gets_the_default(default):
    assert negotiated(call_of(headers={"accept": "image/png, */*;q=0.5"}), default) == default


WRONG = {
    "text for a number": ({"amount": "much"}, "amount"),
    "a number for text": ({"kind": 3}, "kind"),
    "a list": ({"events": [1]}, "events"),
    "beyond float32": ({"amount": 1e39}, "amount"),
    "an unknown field": ({"amuont": 1}, "amuont"),
    "a customer that is no text": ({"customer_id": 7}, "customer_id"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_bad_row_is_refused_with_row_and_field_or_answered_in_its_place(what, service, numbers):
    change, field = WRONG[what]
    body = in_json([INSTANCES[0], INSTANCES[1] | change, INSTANCES[2]])
    answer = post(service, body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    problem = answer.json()
    assert (problem["row"], problem["field"]) == (1, field)
    assert problem["expected"]
    assert problem["do"]
    first, bad, last = post(service, body, query="?on_error=row").json()["predictions"]
    assert (first["satisfaction"], last["satisfaction"]) == (numbers[0], numbers[2])
    assert bad["field"] == field
    assert "satisfaction" not in bad
    lines = post(service, body, accept=CSV, query="?on_error=row").text.splitlines()
    assert len(lines) == 4


def test_an_absent_field_is_named(service):
    lacking = {name: value for name, value in INSTANCES[0].items() if name != "kind"}
    problem = post(service, in_json([lacking])).json()
    assert problem["field"] == "kind"
    assert "null where it is not known" in problem["expected"]


def test_booleans_count_as_one_and_zero(service):
    of = [post(service, in_json([INSTANCES[0] | {"is_busy": value}])) for value in (True, 1, 1.0)]
    assert len({answer.json()["predictions"][0]["satisfaction"] for answer in of}) == 1
    cells = post(service, ",".join(NAMES) + "\n3,20.5,TRUE,a\n", "text/csv").json()
    assert cells == of[0].json()


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"instances": []}', "application/json", 422),
        (b'{"instances": {}}', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"a", "text/csv; charset=latin-1", 415),
        (b"events,amount,is_busy,kind\n1,2,true,a\n", "text/csv; header=foo", 415),
        (b"1,2,true,a\n", "text/csv; header=", 415),
        (b'{"instances": [{"events": 1, "amount": 2, "is_busy": true, "kind": "\xff"}]}', "application/json", 400),
        (b'{"instances": [{"events": 1, "amount": 2, "is_busy": true, "k\xed\xa0\x80": 1}]}', "application/json", 400),
        (b'{"events": 1, "amount": 2, "is_busy": true, "kind": "\xff"}\n', "application/jsonlines", 400),
        (b"", "text/csv", 400),
        (b'"', "text/csv", 400),
        (b"events,events\n1,2\n", "text/csv", 422),
        (b'{"instances": ' + b"[" * 100_000, "application/json", 400),
    ],
)
def test_a_malformed_request_is_refused(content, kind, status, service):
    answer = post(service, content, kind)
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 2000
    assert "csv" in kind or "codec" not in answer.text


def test_a_line_that_is_not_utf_8_does_not_affect_the_others(service, numbers):
    good = json.dumps(INSTANCES[0]).encode()
    body = b"\n".join([good, good.replace(b'"a"', b'"\xff"'), good])
    assert body.count(b"\xff") == 1
    answer = post(service, body, "application/jsonlines", query="?on_error=row")
    first, bad, last = answer.json()["predictions"]
    assert first["satisfaction"] == last["satisfaction"] == numbers[0]
    assert "UTF-8" in bad["error"]
    assert post(service, body, "application/jsonlines").json()["row"] == 1


def test_on_error_has_two_values(service):
    assert post(service, *BODIES["JSON"], query="?on_error=maybe").status_code == 422


def test_a_customer_of_an_ab_test_is_answered_by_its_model(registered):
    standing(registered, "1", "3")
    ids = [f"c{number}" for number in range(200)]
    with running(routed(registered, "ab")) as service:
        instances = [INSTANCES[0] | {"customer_id": customer, "product_id": "p1"} for customer in ids]
        answered = post(service, in_json(instances)).json()["predictions"]
        nobody = post(service, in_json([INSTANCES[0]])).json()["predictions"][0]
        alone = [post(service, in_json([one])).json()["predictions"][0] for one in instances[:20]]
    by_version = {version: answers_of(registered, version)[0] for version in ("1", "3")}
    assert {prediction["model_version"] for prediction in answered} == {"1", "3"}
    for prediction in answered:
        assert prediction["satisfaction"] == by_version[prediction["model_version"]]
        assert prediction["role"] == {"1": "champion", "3": "challenger"}[prediction["model_version"]]
    assert alone == answered[:20]
    assert nobody["role"] == "champion"
