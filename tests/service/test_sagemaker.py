"""The cost of a request of many lines in SageMaker's contract: rows, bytes out, memory, other requests' time."""

import json
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from pipeline.errors import RequestError
from pipeline.models.bundle import Feature
from pipeline.service.contracts import sagemaker
from pipeline.service.instances import predictions
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Signature
from tests.service.asking import CSV, JSON, LINES, as_csv, as_object, json_lines
from tests.service.calls import call_of

GOOD: list[Any] = [3, 20.5, True, "a"]
WAIT_SECONDS = 20
MANY = Signature([Feature(name=f"a feature with a rather long name {n}", kind="number") for n in range(20)])
ASKED = {"sagemaker": ("/invocations", "/ping"), "vertex": ("/predict", "/health"), "azure": ("/score", "/")}


@pytest.fixture(scope="module")
def url(serve) -> str:
    return serve(contract="sagemaker", body_bytes=6 * 2**20).url


def invoked(url: str, body: bytes, kind: str = CSV, path: str = "/invocations") -> httpx.Response:
    return httpx.post(f"{url}{path}", content=body, headers={"content-type": kind}, timeout=120)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CSV, b"\n" * 200_001),
        (CSV, b"\r" * 200_001),
        (CSV, b"\r\n" * 200_001),
        (f"{CSV}; header=present", b"\n" * 200_002),
        (LINES, b"\n" * 200_001),
        (LINES, b"1\n" * 200_001),
        (JSON, b'{"instances":[' + b"1," * 200_000 + b"1]}"),
    ],
)
def test_more_rows_than_can_be_answered_are_refused(kind, body, url):
    answered = invoked(url, body, kind)
    assert (answered.status_code, answered.json()["expected"]) == (413, "at most 200000.")


def test_too_many_lines_are_refused_before_they_are_split():
    """A line of one byte takes forty as an object."""
    call = call_of("/invocations", {"content-type": CSV}, b"\n" * 3_000_000)
    with peak_below(1_000_000), pytest.raises(RequestError, match="3000000 rows"):
        sagemaker.read(call, Reader(MANY, 200_000, on_error_row=True))


@contextmanager
def peak_below(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (CSV, "\n"),
        (CSV, "x\n"),
        (CSV, '"\n'),
        (LINES, "\n"),
        (LINES, "{}\n"),
        (LINES, "[]\n"),
        (LINES, '{"%d":1}\n'),
        (LINES, '{"a feature with a rather long name 0":1,"%d":1}\n'),
    ],
)
@pytest.mark.parametrize("wanted", [CSV, LINES, JSON])
def test_a_bad_line_costs_little(kind, line, wanted):
    rows = 2000
    body = "".join(line % n if "%d" in line else line for n in range(rows)).encode()
    call = call_of("/invocations", {"content-type": kind, "accept": wanted}, body)
    with peak_below(2500 * rows):  # nothing is kept of how the error came about
        instances = sagemaker.read(call, Reader(MANY, rows, on_error_row=True))
        answer = sagemaker.write([], instances)
    assert instances.rows == len(instances.bad) == rows
    assert isinstance(answer.body, bytes)
    assert len(answer.body) < 350 * rows, "an error of a few words"


@pytest.mark.parametrize("contract", ["sagemaker", "vertex", "azure"])
def test_a_platform_is_answered_while_a_large_answer_is_written(contract, serve, monkeypatch):
    path, probe = ASKED[contract]
    server = serve(contract=contract)
    is_written, may_end = threading.Event(), threading.Event()
    in_order = predictions.in_order

    def slow(*given: Any) -> Any:
        is_written.set()
        assert may_end.wait(WAIT_SECONDS)
        return in_order(*given)

    monkeypatch.setattr(predictions, "in_order", slow)
    body = json.dumps({"instances": [as_object(GOOD), *[1] * 5000]}).encode()
    with ThreadPoolExecutor(1) as pool:
        bulk = pool.submit(invoked, server.url, body, JSON, path)
        assert is_written.wait(WAIT_SECONDS)
        try:
            assert httpx.get(server.url + probe, timeout=WAIT_SECONDS / 4).status_code == 200
            assert not bulk.done()
        finally:
            may_end.set()
        assert len(bulk.result().json()["predictions"]) == 5001


def test_an_empty_line_is_a_record(url):
    """SageMaker splits at newlines: if it was skipped, a join would give each later row another's prediction."""
    for kind, good in ((CSV, as_csv([GOOD], None)), (LINES, json_lines([GOOD]))):
        lines = invoked(url, good + b"\n" + good, kind).content.splitlines()
        assert len(lines) == 3
        assert lines[0] == lines[2] != lines[1]
        alone = invoked(url, b"\n", kind)
        assert (alone.status_code, len(alone.content.splitlines())) == (200, 1), "a file of SingleRecord goes on"
