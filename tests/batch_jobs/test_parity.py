"""The same rows in a file and in `POST /predict` give the same numbers, and the same rows are refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.files import sha256_of_file
from pipeline.models.bundle import BUNDLE_FILE
from tests.batch_jobs.conftest import GOOD, gzipped, jsonl_of, parquet_of
from tests.company import company_settings
from tests.service.server import export_tiny, running

LINES = [
    json.dumps(GOOD),
    '{"events": 50, "amount": 20.5, "is_busy": true, "kind": "a", "events": 3}',
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "b", "kind": "c", "kind": "a"}',
    r'{"events": 50, "amount": 20.5, "is_busy": true, "kind": "a", "e\u0076ents": 3}',
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "a", "events": null}',
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "a", "kind": null, "kind": "a"}',
    '{"events": null, "amount": null, "is_busy": null, "kind": null}',
    r'{"events": 3, "amount": 20.5, "is_busy": true, "kind": "a\u0000b"}',
    r'{"events": 3, "amount": 20.5, "is_busy": true, "kind": "\u0000"}',
    r'{"customer_id": "c\u00001", "events": 3, "amount": 20.5, "is_busy": true, "kind": "a"}',
    r'{"events": 3, "amount": 20.5, "is_busy": true, "kind": "c", "kind": "\u0000\"\\"}',
]
"""Rows that get a prediction."""
BAD_LINES = [
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "a", "events": "wrong"}',
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "a", "kind": {"x": 1}}',
    '{"customer_id": "c1", "events": 3, "amount": 20.5, "is_busy": true, "kind": "a", "customer_id": {"x": 1}}',
    '{"amount": 20.5, "is_busy": true, "kind": "a"}',
    '{"customer_id": "c1", "product_id": "p1", "events": 3}',
    "{}",
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "a"',
    "[1]",
    '{"events": 3, "amount": 20.5, "is_busy": true, "kind": "\0"}',
    r'{"events": 3, "amount": 20.5, "is_busy": true, "kind": "\ud800"}',
    '{"events": [], "amount": 20.5, "is_busy": true, "kind": "a"}',
]
"""Rows that are refused, each in its place."""
HEADER = "events,amount,is_busy,kind"
CSV_LINES = ["3,20.5,true,a", "", '3,20.5,true,"a,b"', "3,20.5,true,a\0b", "3,20.5,true,\0", "3,20.5,true, a", ",,,a"]
BAD_CSV_LINES = ["x,20.5,true,a", "3,inf,true,a", "3,20.5,true", "1_0,20.5,true,a", "nan,20.5,true,a"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="module")
def service(company: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = company_settings(company, tmp_path_factory.mktemp("home"), SERVICE__MODEL_FOLDER=str(model))
    with running(settings) as server, httpx.Client(base_url=server.url) as client:
        yield client


@pytest.fixture
def by_file(done, model):
    """The answers to a file's rows: a satisfaction, or None."""

    def answered(content: bytes, suffix: str) -> list[float | None]:
        ended = done(content, suffix, bundle=model, bundle_digest=sha256_of_file(model / BUNDLE_FILE))
        return [row["satisfaction"] for row in ended.results]

    return answered


def on_demand(service: httpx.Client, content: bytes, media_type: str) -> list[float | None]:
    headers = {"content-type": media_type, "accept": "application/json"}
    answer = service.post("/predict?on_error=row", content=content, headers=headers)
    assert answer.is_success, answer.text
    return [said.get("satisfaction") for said in answer.json()["predictions"]]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_json_lines_are_answered_as_on_demand(service, by_file, suffix):
    lines = "\n".join(row for pair in zip(LINES, BAD_LINES, strict=True) for row in pair).encode()
    expected = on_demand(service, lines, "application/jsonlines")
    assert expected.count(None) == len(BAD_LINES)
    assert by_file(gzipped(lines) if suffix.endswith("gz") else lines, suffix) == expected


def test_csv_is_answered_as_on_demand(service, by_file):
    rows = "\n".join([HEADER, *CSV_LINES]).encode()
    expected = on_demand(service, rows, "text/csv")
    assert None not in expected
    assert by_file(rows, "csv") == expected
    rows = "\n".join([HEADER, CSV_LINES[0], *BAD_CSV_LINES, CSV_LINES[0]]).encode()
    assert by_file(rows, "csv") == on_demand(service, rows, "text/csv") == [expected[0], *[None] * 5, expected[0]]


def test_a_category_with_nul_is_one_in_parquet_too(service, by_file):
    rows = [{**GOOD, "kind": "a\0b"}, {**GOOD, "kind": "\0"}, GOOD]
    assert by_file(parquet_of(rows), "parquet") == on_demand(service, jsonl_of(rows), "application/jsonlines")


def test_what_is_absent_is_named_and_the_row_kept_as_it_stood(done):
    line = '{"events": 1,  "events": 3, "amount": 20.5, "kind": "a"}'
    ended = done(f"{json.dumps(GOOD)}\n{line}".encode(), "jsonl")
    assert ended.results[1]["error"] == "is_busy: is absent (null says that it is not known)"
    assert ended.rejects[0]["content"] == line
