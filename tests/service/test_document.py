"""The OpenAPI document: its schema takes the instances that the signature takes, and it is whole for every contract."""

import re
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.manifests import KEYS
from pipeline.models.bundle import Feature
from pipeline.service import app
from pipeline.service.instances.predictions import EXAMPLE
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import LARGEST, Signature
from pipeline.service.openapi import document
from pipeline.service.pages import docs as docs_page
from pipeline.service.pages.html import rendered
from tests.company import company_settings
from tests.service.server import running
from tests.service.versions import EXTRA, standing
from tests.waiting import until

SIGNATURE = Signature(
    [
        Feature(name="amount", kind="number"),
        Feature(name="kind", kind="category", categories=["a", "b"]),
        Feature(name="an odd.name/ with ~ and ü", kind="number"),
    ]
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([LARGEST, -LARGEST, LARGEST * 1.0001, 10**39, 1e300, 2**64, -(2**70)])
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
NOTHING_KNOWN: dict[str, Any] = dict.fromkeys(SIGNATURE.names)
INSTANCES = st.dictionaries(st.sampled_from([*SIGNATURE.names, *KEYS, "unknown"]), VALUES, max_size=6)


@pytest.fixture(scope="module")
def schemas(company, tmp_path_factory) -> dict[bool, Any]:
    """The schema of an instance, by whether a snapshot can complete it."""
    folders: dict[bool, dict[str, str]] = {True: {}, False: {"SERVICE__MODEL_FOLDER": "/model"}}
    made = {
        completes: document([], SIGNATURE, company_settings(company, tmp_path_factory.mktemp("home"), **changes))
        for completes, changes in folders.items()
    }
    return {completes: said["components"]["schemas"]["Instance"] for completes, said in made.items()}


@tried(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(instance=INSTANCES | INSTANCES.map(lambda some: NOTHING_KNOWN | some), completes=st.booleans())
@example(instance=NOTHING_KNOWN, completes=False)
@example(instance={"customer_id": "c", "product_id": "p"}, completes=True)
@example(instance={"customer_id": "c", "product_id": "p"}, completes=False)
@example(instance={"customer_id": "c", "product_id": None}, completes=True)
def test_the_schema_takes_what_the_signature_takes(schemas, instance, completes):
    def complete(customer_id: str, product_id: str, names: Any) -> Any:
        return "2026-03-02", (None,) * len(names)

    try:
        Reader(SIGNATURE, complete=complete if completes else None).objects([instance])
    except RequestError:
        is_taken = False
    else:
        is_taken = True
    assert jsonschema.Draft202012Validator(schemas[completes]).is_valid(instance) == is_taken


@pytest.mark.parametrize("contract", ["barometer", "sagemaker", "vertex", "azure"])
def test_every_operation_is_whole(serve, contract):
    with httpx.Client(base_url=serve(contract=contract).url) as client:
        said = client.get("/openapi.json").json()
    assert "securitySchemes" not in said["components"]
    operations = [operation for path in said["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert "security" not in operation
        assert any(status.startswith("2") for status in operation["responses"])
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "X-Request-ID" in response["headers"]
            if status == "503":
                assert "Retry-After" in response["headers"]
            for media, content in response.get("content", {}).items():
                schema = {**content["schema"], "components": said["components"]}
                if media.endswith("json") and "example" in content:
                    jsonschema.validate(content["example"], schema)


def test_if_keys_are_required_each_operation_that_needs_one_has_a_security_scheme(serve):
    said = httpx.get(f"{serve(auth='keys').url}/openapi.json").json()
    schemes = [{name: []} for name in said["components"]["securitySchemes"]]
    assert schemes
    assert said["paths"]["/predict"]["post"]["security"] == schemes
    assert {"401", "403"} <= said["paths"]["/predict"]["post"]["responses"].keys()
    assert said["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_it_is_made_once_for_a_model_version(watched, path, monkeypatch):
    made = []
    monkeypatch.setattr(app, "document", lambda *about: made.append(about) or document(*about))
    monkeypatch.setattr(docs_page, "rendered", lambda *a, **facts: made.append(a) or rendered(*a, **facts))
    with running(watched) as server:
        first = httpx.get(server.url + path)
        times = len(made)
        for _ in range(3):
            assert httpx.get(server.url + path).content == first.content
        assert len(made) == times
        standing(watched, "5")
        until(lambda: EXTRA.name in httpx.get(server.url + path).text)
        assert len(made) == 2 * times
    assert EXTRA.name not in first.text


def test_the_words_of_the_example_are_words_of_the_service(serve):
    rows = [{"events": n, "amount": n, "is_busy": None, "kind": "a"} for n in range(60)]
    made = httpx.post(f"{serve().url}/predict", json={"instances": rows}).json()["predictions"]
    said = {re.sub("[0-9]+", "n", row["words"], count=1) for row in made if row["satisfied"] == EXAMPLE.satisfied}
    assert said == {EXAMPLE.words.replace(str(round(100 * EXAMPLE.satisfaction)), "n")}
