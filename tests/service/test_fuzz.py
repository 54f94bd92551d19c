"""Any bytes to any route: never a 500, and every error in the route's own form, as documented."""

import http.client
import json
import math
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.service.calls import Route
from tests.company import company_settings, own_database
from tests.service.raw import ROW, instances
from tests.service.server import Server
from tests.service.test_openapi import examples_of
from tests.service.whole import whole_service

KINDS = [
    "application/json",
    "text/csv",
    "text/csv; header=absent",
    "text/csv; header=present",
    "application/jsonlines",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "application/json; charset=utf-16",
    "multipart/form-data; boundary=x",
    "",
    ";;=",
]
OF_CONTRACTS = (
    "instances predictions inputs outputs parameters params id name shape datatype data index columns"
    " dataframe_split dataframe_records input_data customer_id product_id"
)
NAMES = st.sampled_from([*OF_CONTRACTS.split(), *ROW])
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 1e308, -1e308, 5e-324, 3.5e38, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**400])
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=10) | st.sampled_from(["a", "\x00", "\ud800", "NaN"])
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=5),
    max_leaves=25,
)
TEXTS = [
    "",
    " ",
    "\ufeff{}",
    "nul",
    "{" * 50_000,
    "[" * 100_000,
    '{"instances":' * 20_000,
    '{"instances":[' + "[" * 20_000 + "]" * 20_000 + "]}",
    '{"instances":[{"events":NaN}]}',
    '{"instances":[{"events":Infinity}]}',
    '{"instances":[{"events":1e99999}]}',
    '{"instances":[{"events":' + "9" * 20_000 + "}]}",
    '{"instances":[{"kind":"\\ud800"}]}',
    '{"instances":[{"events":1,"events":2,"events":"x"}]}',
    '{"instances":[],"instances":[{}],"instances":null}',
    '{"instances":[' + '{"' + "x" * 100_000 + '":1}]}',
    ",".join(ROW) + "\n" + "1," * 10_000,
    '"unclosed\n1,2',
    "a,a,a,a\n1,2,3,4",
    "1e999,1,1,a\n",
    "events\x00,amount\r\r\n1",
]


@pytest.fixture(scope="module")
def whole(company, tmp_path_factory, server_url) -> Iterator[Server]:
    """Our own contract, with a registry, a warehouse and a published week."""
    settings = company_settings(company, tmp_path_factory.mktemp("whole"), **own_database(server_url))
    with whole_service(settings, rows=50) as server:
        yield server


class Asked:
    """A service of a contract, and its description of itself."""

    def __init__(self, server: Server) -> None:
        self.routes = [route for route in server.application.routes if route.method == "POST"]
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.document = json.loads(self.ask("GET", "/openapi.json", b"", "")[2])
        self._version = json.loads(self.ask("GET", "/readyz", b"", "")[2])["champion"]

    def ask(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, str, bytes]:
        """Return status, media type and body of the answer."""
        self.connection.request(method, path, body, {"Content-Type": kind})
        answer = self.connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()

    def check(self, route: Route, body: bytes, kind: str) -> int:
        """Send a body to a route; return the status of what must be a good answer or a good error."""
        path = route.path.replace("{model}", "satisfaction").replace("{version}", self._version)
        status, media, content = self.ask("POST", path, body, kind)
        assert status < 500 or (status in {501, 503} and path == "/batch-predictions"), content
        if media.endswith("json"):
            assert_finite(json.loads(content, parse_constant=pytest.fail))
        if route.paths is not None:
            described = self.document["paths"][route.path]["post"]["responses"][str(status)]
            if media not in described["content"]:
                pytest.fail(f"{path} answers {status} in {media}")
            schema = described["content"][media]["schema"]
            if status >= 400:
                if "$ref" in schema:
                    schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
                found = json.loads(content)
                assert set(schema["required"]) <= found.keys() <= schema["properties"].keys()
                assert len(content) < 3_000, "an error quotes no whole input"
        return status


def assert_finite(value: Any) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            assert_finite(one)
    assert not isinstance(value, float) or math.isfinite(value)


@pytest.fixture(scope="module", params=["barometer", "sagemaker", "vertex", "azure"])
def asked(request, serve) -> Iterator[Asked]:
    contract = request.param
    server = request.getfixturevalue("whole") if contract == "barometer" else serve(contract=contract, rows=50)
    found = Asked(server)
    with closing(found.connection):
        yield found


def encoded(value: Any) -> bytes:
    return re.sub(r"(?<![\\\w])NaN", "null", json.dumps(value)).encode()


def examples(asked: Asked, route: Route) -> list[tuple[str, bytes]]:
    """Good bodies of a route."""
    if route.paths is None:
        return [("application/x-www-form-urlencoded", b"events=1&amount=2&is_busy=1&kind=a")]
    found = []
    for kind, content in asked.document["paths"][route.path]["post"].get("requestBody", {}).get("content", {}).items():
        values = examples_of(content)
        found += [(kind, value.encode() if isinstance(value, str) else json.dumps(value).encode()) for value in values]
    return found or [("application/json", instances())]


quick = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@quick
@given(st.data())
def test_any_json(asked, data):
    route, value = data.draw(st.sampled_from(asked.routes)), data.draw(JSON_VALUES)
    asked.check(route, encoded(value), "application/json")
    asked.check(route, encoded(value), "application/jsonlines")


@quick
@given(st.data())
def test_any_value_anywhere_in_a_good_body(asked, data):
    """A part of an example is replaced, doubled or taken out."""
    route = data.draw(st.sampled_from(asked.routes))
    good = [(kind, json.loads(body)) for kind, body in examples(asked, route) if kind == "application/json"]
    kind, body = data.draw(st.sampled_from(good or [("application/json", {"instances": [dict(ROW)]})]))
    place = body
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    what = data.draw(st.sampled_from(["replace", "take out", "add"]))
    if what == "replace":
        place[key] = data.draw(JSON_VALUES)
    elif what == "take out":
        del place[key]
    elif isinstance(place, dict):
        place[data.draw(NAMES | st.text(max_size=5))] = data.draw(JSON_VALUES)
    else:
        place.append(data.draw(JSON_VALUES))
    asked.check(route, encoded(body), kind)


@quick
@given(st.data())
def test_damaged_examples(asked, data):
    """Bytes of a good body are cut out, doubled or overwritten; a part of it is under another media type."""
    route = data.draw(st.sampled_from(asked.routes))
    kind, body = data.draw(st.sampled_from(examples(asked, route)))
    start = data.draw(st.integers(0, len(body)))
    stop = data.draw(st.integers(start, len(body)))
    damaged = (
        body[:start]
        + data.draw(st.sampled_from([b"", body[start:stop] * 2, b"\xff", b"\x00", b'"', b"9" * 400]))
        + body[stop:]
    )
    asked.check(route, damaged, data.draw(st.sampled_from([kind, *KINDS])))


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "application/jsonlines", "text/csv; header=absent"])
def test_known_tricks(asked, kind):
    for route in asked.routes:
        for text in TEXTS:
            asked.check(route, text.encode("utf-8", "surrogatepass"), kind)


def test_good_bodies_are_answered_after_all_that(asked):
    for route in asked.routes:
        if route.paths is not None and not route.is_streaming:
            for kind, body in examples(asked, route):
                assert asked.check(route, body, kind) == 200
