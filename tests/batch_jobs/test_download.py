"""Downloads from real web servers: without ranges, with redirects, with wrong lengths."""

import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch_jobs.file_rows import read_rows
from pipeline.errors import SourceError
from tests.batch_jobs.conftest import GOOD, csv_of, jsonl_of, through

ROWS = csv_of([GOOD])


@dataclass
class Said:
    """The responses of a server, and the requests it received."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = ROWS
    asked: list[tuple[str, str]] = field(default_factory=list)


class Saying(BaseHTTPRequestHandler):
    """Answers GET as the test says, and HEAD always with 200 and 30 bytes."""

    said: Said

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "30")
        self.end_headers()

    def do_GET(self) -> None:
        self.said.asked.append((self.command, self.path))
        self.send_response(self.said.status)
        for name, value in self.said.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.said.body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def url(said: Said) -> Iterator[str]:
    yield from serving(type("Server", (Saying,), {"said": said}))


def serving(handler: Any) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_file_is_read_from_where_it_is(settings, planned, url, said):
    said.headers = {"Content-Length": str(len(ROWS))}
    ended = through(settings, planned(ROWS, "csv", uri=f"{url}/in/rows.csv", digest=None))
    assert ended.scored.predicted == 1
    assert not list((settings.home / "tmp").glob("fetched-*"))


@pytest.mark.parametrize("sent_on", ["301 csv", "302 csv", "302 jsonl", "303 jsonl", "307 csv", "308 jsonl"])
def test_a_request_that_is_sent_on_is_refused_and_not_followed(settings, planned, url, said, sent_on):
    status, suffix = sent_on.split()
    said.status, said.body = int(status), b""
    said.headers = {"Location": f"{url}/elsewhere/rows.{suffix}", "Content-Length": "0"}
    with pytest.raises(SourceError, match=f"answers {status} with a redirect") as refused:
        read_rows(settings, planned(ROWS, suffix, uri=f"{url}/in/rows.{suffix}", digest=None))
    assert refused.value.do == "give the file's own address."
    assert said.asked == [("GET", f"/in/rows.{suffix}")]


OTHER_ANSWERS = {
    "partial": (206, {"Content-Length": str(len(ROWS))}, ROWS, "answers 206 Partial Content"),
    "no content": (204, {}, b"", "answers 204"),
    "other choices": (300, {"Content-Length": "0"}, b"", "answers 300"),
    "absent": (404, {"Content-Length": "0"}, b"", "answers 404 Not Found"),
    "forbidden": (403, {"Content-Length": "0"}, b"", "answers 403"),
    "broken": (500, {"Content-Length": "0"}, b"", "answers 500"),
    "cut short": (200, {"Content-Length": str(len(ROWS) + 1)}, ROWS, "could not be downloaded"),
    "of no size": (200, {}, ROWS, "has no known size"),
    "of a strange size": (200, {"Content-Length": "-5"}, ROWS, "The file "),
    "too large": (200, {"Content-Length": "5000000000000"}, b"", r"at most [\d,]+ bytes \(service\.upload_bytes\)"),
    "nothing, where HEAD says 30 bytes": (200, {"Content-Length": "0"}, b"", "The file is empty"),
}


@pytest.mark.parametrize("answer", OTHER_ANSWERS)
def test_what_is_not_the_whole_file_is_refused_in_words(settings, planned, url, said, answer):
    said.status, said.headers, said.body, words = OTHER_ANSWERS[answer]
    with pytest.raises(SourceError, match=words) as refused:
        read_rows(settings, planned(ROWS, "csv", uri=f"{url}/rows.csv", digest=None))
    assert refused.value.expected
    assert refused.value.do
    assert url not in str(refused.value), "an address may hold a token"
    assert not list((settings.home / "tmp").glob("fetched-*"))


def test_a_server_that_does_not_answer_is_reported(settings, planned):
    with pytest.raises(SourceError, match="could not be downloaded"):
        read_rows(settings, planned(ROWS, "csv", uri="http://127.0.0.1:1/rows.csv", digest=None))


def test_a_server_without_ranges_may_have_a_large_file(settings, planned, tmp_path: Path):
    large = b"\n".join([jsonl_of([GOOD])] * 130_000)
    assert len(large) > 13_000_000
    (tmp_path / "rows.jsonl").write_bytes(large)
    resources = settings.resources.model_copy(update={"shard_rows": 500_000})
    settings = settings.model_copy(update={"resources": resources})

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Log nothing."""

    for url in serving(partial(Quiet, directory=str(tmp_path))):
        read = read_rows(settings, planned(ROWS, "jsonl", uri=f"{url}/rows.jsonl", digest=None))
        assert (read.rows, read.unreadable) == (130_000, 0)
    assert not list((settings.home / "tmp").glob("fetched-*"))


def test_a_file_that_does_not_fit_on_the_disk_is_refused(settings, planned, url, said):
    said.body = ROWS + b"\n" * 2_000_000
    said.headers = {"Content-Length": str(len(said.body))}
    plan = planned(ROWS, "csv", uri=f"{url}/rows.csv", digest=None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(SourceError, match="The file cannot be stored: File too large"):
            read_rows(settings, plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((settings.home / "tmp").glob("fetched-*"))
