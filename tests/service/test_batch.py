"""Batch predictions without an Airflow, and what is refused of a body; the rest is in tests/end_to_end/files.py."""

import asyncio
import gzip
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from pipeline.batch_jobs.places import files_folder, job_folder
from pipeline.errors import RequestError
from pipeline.local.credentials import credentials
from pipeline.orchestration.file_jobs import Submission
from pipeline.service.batch import upload
from pipeline.service.batch.upload import idempotency_key, take_in
from pipeline.service.calls import Call
from pipeline.settings import Settings
from tests.end_to_end.airflow import free_ports
from tests.service.calls import call_of
from tests.service.server import Server, running
from tests.waiting import until

PATH = "/batch-predictions"
ROWS = b"events,amount,is_busy,kind\n1,2,true,a\n"
ROUTES = [
    ("POST", PATH),
    ("GET", PATH),
    ("GET", f"{PATH}/job1"),
    ("GET", f"{PATH}/job1/results"),
    ("GET", f"{PATH}/job1/rejects"),
    ("DELETE", f"{PATH}/job1"),
]


@pytest.fixture(scope="module")
def alone(serve: Callable[..., Server]) -> str:
    return serve().url


@pytest.fixture
def without_airflow(registered: Settings) -> Any:
    """A service beside a registry whose Airflow is down."""
    services = registered.services.model_copy(update={"airflow_port": free_ports(1)[0]})
    (registered.home / "airflow").mkdir(exist_ok=True)
    (registered.home / "airflow" / "passwords.json").touch()  # it was up once
    with running(registered.model_copy(update={"services": services})) as server:
        yield server.url


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_where_there_is_no_airflow_it_says_why(alone, method, path):
    answer = httpx.request(method, alone + path, content=ROWS if method == "POST" else None)
    assert (answer.status_code, answer.headers["content-type"]) == (501, "application/problem+json")
    assert "service.model_folder" in answer.json()["detail"]


def test_where_airflow_does_not_answer_it_says_when_to_come_back(without_airflow, registered):
    for method, path in ROUTES:
        answer = httpx.request(
            method,
            without_airflow + path,
            content=ROWS if method == "POST" else None,
            headers={"content-type": "text/csv"},
            timeout=20,
        )
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "gives no answer" in answer.json()["detail"]
    assert credentials(registered.home).airflow_passwords["operator"] not in answer.text
    assert not list(files_folder(registered).glob("**/*.csv"))


def test_the_session_with_airflow_ends_with_the_service(registered):
    with running(registered) as server:
        jobs = server.application.jobs
    with pytest.raises(RuntimeError, match="client has been closed"):
        jobs.latest(None, 1)


def test_what_has_expired_is_swept_without_anybody_asking(registered):
    expired = job_folder(registered, "expired_long_ago")
    expired.mkdir(parents=True)
    os.utime(expired, (0, 0))
    with running(registered):
        until(lambda: not expired.exists())


def test_there_are_no_jobs_of_impossible_ids(without_airflow):
    for path in ("..%2f..%2fcredentials.json", "~", "%00", "a" * 300, ".incoming"):
        answer = httpx.get(f"{without_airflow}{PATH}/{path}/results")
        assert answer.status_code == 404, path
        assert answer.json()["detail"].startswith("There is no such job.")


def call(body: bytes, size: int = 1 << 20, **headers: str) -> Call:
    """A request whose body comes in parts of a size."""

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    return call_of(PATH, {name.replace("_", "-"): value for name, value in headers.items()}, stream=stream())


def taken(settings: Settings, *arguments: Any, **headers: str) -> Submission:
    return asyncio.run(take_in(settings, call(*arguments, **headers)))


def form(*parts: tuple[str, bytes], boundary: str = "Limit-X") -> bytes:
    """A form of parts: their headers, and what they hold."""
    lines = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


FILE = 'Content-Disposition: form-data; name="file"; filename="rows.csv"\r\nContent-Type: text/csv'
NO_KIND = 'Content-Disposition: form-data; name="file"; filename="rows.exe"'
NOTE = 'Content-Disposition: form-data; name="note"'
AS_FORM = "multipart/form-data; boundary=Limit-X"


@pytest.mark.parametrize(
    ("media_type", "encoding", "suffix"),
    [
        ("text/csv", "identity", "csv"),
        ("Text/CSV; charset=UTF-8; header=present", "identity", "csv"),
        ("text/csv", "gzip", "csv.gz"),
        ("application/jsonlines", "identity", "jsonl"),
        ("application/x-ndjson", "gzip", "jsonl.gz"),
        ("application/vnd.apache.parquet", "identity", "parquet"),
    ],
)
def test_a_body_is_what_its_media_type_says(settings, media_type, encoding, suffix):
    taken_in = taken(settings, ROWS, content_type=media_type, content_encoding=encoding)
    assert (taken_in.suffix, taken_in.arrived.read_bytes()) == (suffix, ROWS)
    taken_in.discard()
    assert not taken_in.arrived.exists()


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
def test_a_form_may_come_in_parts_of_any_size(settings, size):
    content = ROWS + b"\r\n--Limit-\r\n--Limit-Y\r\n" * 3
    body = form((NOTE, b"before"), (FILE, content), (NOTE, b"after"), (NOTE.replace("note", "file"), b"no file"))
    taken_in = taken(settings, body, size, content_type=AS_FORM)
    assert (taken_in.suffix, taken_in.arrived.read_bytes()) == ("csv", content)


def test_a_real_client_s_form_is_read(settings):
    request = httpx.Request("POST", "http://x", files={"file": ("r.jsonl.gz", gzip.compress(b"{}"))})
    taken_in = taken(settings, request.read(), content_type=request.headers["content-type"])
    assert (taken_in.suffix, gzip.decompress(taken_in.arrived.read_bytes())) == ("jsonl.gz", b"{}")


REFUSED = {
    "no media type": (415, ROWS, {}),
    "a picture": (415, ROWS, {"content_type": "image/png"}),
    "another encoding": (415, ROWS, {"content_type": "text/csv", "content_encoding": "br"}),
    "no header line": (415, ROWS, {"content_type": "text/csv; header=absent"}),
    "a header line or not": (415, ROWS, {"content_type": "text/csv; header=foo"}),
    "another charset": (415, ROWS, {"content_type": "text/csv; charset=latin-1"}),
    "too large as said": (413, ROWS, {"content_type": "text/csv", "content_length": "5000000000"}),
    "too large": (413, b"x" * 95_000, {"content_type": "text/csv"}),
    "a form that is too large": (413, form((FILE, b"x" * 95_000)), {"content_type": AS_FORM}),
    "a form without boundary": (400, form((FILE, ROWS)), {"content_type": "multipart/form-data"}),
    "a form of another boundary": (400, form((FILE, ROWS), boundary="y"), {"content_type": AS_FORM}),
    "a form that ends early": (400, form((FILE, ROWS))[:-20], {"content_type": AS_FORM}),
    "no form": (400, ROWS, {"content_type": AS_FORM}),
    "a form without a file": (400, form((NOTE, ROWS)), {"content_type": AS_FORM}),
    "a form with two files": (400, form((FILE, ROWS), (FILE, ROWS)), {"content_type": AS_FORM}),
    "a form that lacks its last line": (400, form((FILE, ROWS))[:-4], {"content_type": AS_FORM}),
    "a form of an empty boundary": (400, form((FILE, ROWS), boundary=""), {"content_type": AS_FORM[:30]}),
    "a form of no charset": (400, form((FILE, ROWS)), {"content_type": f"{AS_FORM}; charset=undefined"}),
    "a form of a large field": (400, form((NOTE, b"x" * 70_000), (FILE, ROWS)), {"content_type": AS_FORM}),
    "a form of many parts": (400, form(*[(NOTE, b"")] * 101), {"content_type": AS_FORM}),
    "a form's file of no kind": (415, form((NO_KIND, ROWS)), {"content_type": AS_FORM}),
    "no JSON": (400, b"{", {"content_type": "application/json"}),
    "other JSON": (422, b'{"url": "s3://x/y.csv"}', {"content_type": "application/json"}),
    "a nested bomb": (422, b"[" * 60_000, {"content_type": "application/json"}),
    "too much JSON": (413, b" " * 70_000, {"content_type": "application/json"}),
    "a forbidden address": (403, b'{"uri": "http://127.0.0.1/x.csv"}', {"content_type": "application/json"}),
    "a local file": (403, b'{"uri": "file:///etc/passwd"}', {"content_type": "application/json"}),
    "no address": (400, b'{"uri": "../x.csv"}', {"content_type": "application/json"}),
    "an unknown format": (422, b'{"uri": "s3://in/x", "format": "xml"}', {"content_type": "application/json"}),
    "no format": (422, b'{"uri": "s3://in/x"}', {"content_type": "application/json"}),
}  # fmt: skip


@pytest.fixture
def strict(settings: Settings) -> Settings:
    service = {"upload_bytes": 90_000, "file_sources": ("s3://in/",), "request_seconds": 0.2}
    return settings.model_copy(update={"service": settings.service.model_copy(update=service)})


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_is_no_file_is_refused_and_leaves_nothing(strict, wrong):
    status, body, headers = REFUSED[wrong]
    with pytest.raises(RequestError) as refused:
        taken(strict, body, 1_000, **headers)
    assert refused.value.status == status, refused.value
    assert not [path for path in files_folder(strict).rglob("*") if path.is_file()]


@pytest.mark.parametrize("media_type", ["text/csv", AS_FORM])
def test_a_full_disk_is_the_services_trouble_and_leaves_nothing(settings, tmp_path, monkeypatch, media_type):
    path = tmp_path / "arriving"
    path.symlink_to("/dev/full")
    monkeypatch.setattr(upload, "incoming", lambda _: path)
    with pytest.raises(RequestError, match="cannot be stored: No space left") as refused:
        taken(settings, form((FILE, ROWS)) if media_type == AS_FORM else ROWS, content_type=media_type)
    assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "60"})
    assert not path.is_symlink()


@pytest.mark.parametrize("media_type", ["text/csv", AS_FORM])
def test_a_large_file_is_never_in_memory_as_a_whole(settings, media_type):
    parts = 64
    head, _, tail = form((FILE, b"<rows>")).partition(b"<rows>") if media_type == AS_FORM else (b"", b"", b"")

    async def many() -> AsyncIterator[bytes]:
        yield head
        for _ in range(parts):
            yield b"x" * (1 << 20)
        yield tail

    large = call(b"", content_type=media_type)
    large.stream = many
    tracemalloc.start()
    taken_in = asyncio.run(take_in(settings, large))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken_in.arrived.stat().st_size == parts << 20
    assert peak_bytes < 8 << 20


def test_an_allowed_address_is_taken_as_it_is(strict):
    taken_in = taken(strict, b'{"uri": "s3://in/x.csv"}', content_type="application/json")
    assert (taken_in.uri, taken_in.format, taken_in.name("job1")) == ("s3://in/x.csv", None, None)
    assert taken(strict, b'{"uri": "s3://in/x", "format": "csv"}', content_type="application/json").format == "csv"


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, "a\nb"])
def test_an_idempotency_key_is_visible_text(key):
    with pytest.raises(RequestError) as refused:
        idempotency_key(call(b"", idempotency_key=key))
    assert refused.value.status == 400
    assert idempotency_key(call(b"")) is None
    assert idempotency_key(call(b"", idempotency_key="x" * 255)) == "x" * 255
