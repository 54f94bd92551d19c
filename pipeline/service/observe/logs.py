"""The service's log: one JSON object a line on standard error, for each request and for what happens besides.

It holds neither inputs nor keys. Entry points: `RequestLog`, which also counts the requests, and `set_up`.
"""

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from pipeline.service.calls import Call
from pipeline.service.observe.metrics import Metrics

GATHER_SECONDS = 0.1
SERVER_ERROR = 500
_encode_lines = msgspec.json.Encoder().encode_lines


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What the log says of a request."""

    time: str
    level: str
    request_id: str
    method: str
    route: str
    """The route's pattern, since the path holds ids of customers."""
    status: int
    milliseconds: float
    rows: int = 0
    key: str | None = None


class RequestLog:
    """Counts and logs requests, those of a moment together: one at a time would cost as much as scoring them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._answered: list[tuple[Call, int, float, float]] = []

    def note(self, call: Call, status: int, started: float) -> None:
        """Count and log a request within a moment. `started` is a reading of `time.perf_counter`."""
        if not self._answered:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)
        self._answered.append((call, status, time.time(), time.perf_counter() - started))

    def flush(self) -> None:
        """Count and log what was gathered."""
        answered, self._answered = self._answered, []
        for call, status, _, seconds in answered:
            self._metrics.count(call.method, call.route, status, seconds, call.rows)
        if answered:
            sys.stderr.buffer.write(_encode_lines([_line(*each) for each in answered]))
            sys.stderr.buffer.flush()


def _line(call: Call, status: int, at: float, seconds: float) -> Line:
    return Line(
        f"{_second(int(at))}.{int(at % 1 * 1000):03d}Z",
        "info" if status < SERVER_ERROR else "error",
        call.request_id,
        call.method,
        call.route,
        status,
        round(seconds * 1000, 3),
        call.rows,
        call.key_name,
    )


@lru_cache(maxsize=2)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a JSON object."""
        content: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(content).decode()


def set_up() -> None:
    """Have everything that this process logs written as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request to Airflow
