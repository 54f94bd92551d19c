"""The forms of bodies and answers, in our own contract and in SageMaker's: each form in, and each form out."""

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
    of_json,
    of_lines,
)

GOOD: list[list[Any]] = [[3, 20.5, True, "a"], [None, 7.0, False, "never seen"], [40, None, None, None]]
PATHS = {"barometer": "/predict", "sagemaker": "/invocations"}
BODIES = {
    JSON: json.dumps({"instances": [as_object(row) for row in GOOD]}).encode(),
    "Application/JSON; charset=utf-8": json.dumps({"instances": [as_object(row) for row in GOOD]}).encode(),
    LINES: json_lines([as_object(row) for row in GOOD]),
    "application/jsonl": json_lines([as_object(row) for row in GOOD]),
    "application/x-ndjson": json_lines([as_object(row) for row in GOOD]),
    f"{CSV}; header=present": as_csv(GOOD, FEATURES),
    f'{CSV}; charset="UTF-8"; header="absent"': as_csv(GOOD, None),
}
"""By media type."""
ANSWERS = {
    "*/*": None,
    "": None,
    JSON: JSON,
    CSV: CSV,
    LINES: LINES,
    "application/x-ndjson": LINES,
    "text/*": CSV,
    "TEXT/CSV;q=0.3, application/jsonlines;q=0.4": LINES,
    "image/png, text/csv;q=0.1": CSV,
    "image/png": 406,
    "text/csv;q=0": 406,
}
"""By Accept: the form, None the usual one, or the status."""


@pytest.fixture(scope="module")
def clients(serve) -> Iterator[dict[str, httpx.Client]]:
    found = {contract: httpx.Client(base_url=serve(contract=contract).url) for contract in PATHS}
    yield found
    for client in found.values():
        client.close()


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("accept", ANSWERS)
@pytest.mark.parametrize("contract", PATHS)
def test_every_form_goes_in_and_comes_out(contract, accept, kind, clients):
    headers = {"content-type": kind, "accept": accept}
    answered = clients[contract].post(PATHS[contract], content=BODIES[kind], headers=headers)
    of_request = LINES if "jsonl" in kind or "ndjson" in kind else CSV if CSV in kind else JSON
    wanted = ANSWERS[accept] or (JSON if contract == "barometer" else of_request)
    if wanted == 406:
        assert answered.status_code == 406
        return
    assert answered.headers["content-type"].split(";")[0] == wanted
    read = {JSON: of_json, CSV: of_csv, LINES: of_lines}[wanted]
    expected = WAYS["sagemaker"]["JSON"](clients["sagemaker"], GOOD)
    assert read(answered) == expected
