"""Files from a web server are read like any other file, unless the server redirects the request."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.batch_jobs.file_rows import read_rows
from pipeline.errors import SourceError
from tests.batch_jobs.conftest import GOOD, csv_of, through

ROWS = csv_of([GOOD])


class Files(BaseHTTPRequestHandler):
    """Has rows at /in/rows.csv and /elsewhere.csv; /in/moved.csv redirects there, /in/endless.csv has no length."""

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        is_moved = self.path == "/in/moved.csv"
        self.send_response(
            302 if is_moved else 200 if self.path.endswith(("rows.csv", "where.csv", "less.csv")) else 404
        )
        if is_moved:
            self.send_header("Location", "/elsewhere.csv")
        if self.path != "/in/endless.csv":
            self.send_header("Content-Length", "0" if is_moved else str(len(ROWS)))
        self.end_headers()
        if with_body and not is_moved:
            self.wfile.write(ROWS)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_file_is_read_from_where_it_is(settings, planned, server):
    ended = through(settings, planned(ROWS, "csv", uri=f"{server}/in/rows.csv", digest=None))
    assert ended.scored.predicted == 1
    assert not list((settings.home / "tmp").glob("fetched-*"))


@pytest.mark.parametrize("name", ["moved.csv", "absent.csv", "endless.csv"])
def test_no_request_is_followed_to_another_place_and_no_size_left_open(settings, planned, server, name):
    with pytest.raises(SourceError):
        read_rows(settings, planned(ROWS, "csv", uri=f"{server}/in/{name}", digest=None))
