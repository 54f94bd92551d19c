"""The part of Airflow's REST API that jobs need, in memory: runs with unique ids, which a test can end."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

START = datetime(2026, 11, 16, tzinfo=UTC)


class Runs:
    """The DAG runs by id, in the order in which they were triggered."""

    def __init__(self) -> None:
        self.by_id: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()

    def end(self, run_id: str, state: str, note: str | None = None, ended_at: datetime | None = None) -> None:
        self.by_id[run_id] |= {"state": state, "note": note, "end_date": (ended_at or datetime.now(UTC)).isoformat()}

    def trigger(self, run_id: str, conf: dict[str, Any]) -> dict[str, Any] | None:
        with self.lock:
            if run_id in self.by_id:
                return None
            at = (START + timedelta(seconds=len(self.by_id))).isoformat()
            run = {"dag_run_id": run_id, "state": "queued", "conf": conf, "note": None, "queued_at": at}
            self.by_id[run_id] = run | {"end_date": None}
            return run

    def latest(self, prefix: str, limit: int) -> list[dict[str, Any]]:
        return [run for run_id, run in reversed(self.by_id.items()) if run_id.startswith(prefix)][:limit]


class _Api(BaseHTTPRequestHandler):
    runs: Runs

    def do_POST(self) -> None:
        asked = self.body()
        if self.path == "/auth/token":
            self.say(201, {"access_token": "t"})
        elif (run := self.runs.trigger(asked["dag_run_id"], asked["conf"])) is None:
            self.say(409, {})
        else:
            self.say(200, run)

    def do_PATCH(self) -> None:
        asked, run_id = self.body(), unquote(self.path.rpartition("/")[2])
        self.runs.end(run_id, asked["state"], asked["note"])
        self.say(200, self.runs.by_id[run_id])

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.endswith("/dagRuns"):
            found = self.runs.latest(query.get("run_id_prefix_pattern", ""), int(query["limit"]))
            self.say(200, {"dag_runs": found})
        elif url.path.endswith("/taskInstances"):
            self.say(200, {"task_instances": [], "total_entries": 0})
        else:
            run = self.runs.by_id.get(unquote(url.path.rpartition("/")[2]))
            self.say(200 if run else 404, run or {})

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def say(self, status: int, what: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def airflow_double() -> Iterator[tuple[int, Runs]]:
    """Serve Airflow's API; yield the port and the runs."""
    runs = Runs()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Api", (_Api,), {"runs": runs})) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd.server_port, runs
        httpd.shutdown()
