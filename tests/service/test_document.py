"""The OpenAPI document itself: its instances are those that the signature takes, and it is whole for every contract."""

import json
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.models.bundle import Feature
from pipeline.service.calls import Answer, Call, Route, problem
from pipeline.service.openapi import answer, content, document, operation
from pipeline.service.signature import KEYS, LARGEST, Signature
from tests.service.raw import ROW
from tests.service.server import Server

SIGNATURE = Signature(
    [
        Feature(name="amount", kind="number"),
        Feature(name="kind", kind="category", categories=["a", "b"]),
        Feature(name="a name/ with ~ and \"", kind="number"),
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
INSTANCES = st.dictionaries(st.sampled_from([*SIGNATURE.names, *KEYS, "unknown"]), VALUES, max_size=6)
WHOLE = dict.fromkeys(SIGNATURE.names)


def without_model_folder(company_settings_of: Any) -> Any:
    return company_settings_of.model_copy(update={"service": company_settings_of.service})


async def nothing(call: Call) -> Answer:
    raise NotImplementedError


@pytest.fixture(scope="module")
def described(serve) -> dict[str, dict[str, Any]]:
    """The documents of all contracts."""
    found = {}
    for contract in ("barometer", "sagemaker", "vertex", "azure"):
        server: Server = serve(contract=contract)
        found[contract] = httpx.get(f"{server.url}/openapi.json").json()
    return found
