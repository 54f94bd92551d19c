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
    """Counts requests and logs them, those of a moment together: one at a time would cost as much as scoring them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._output = sys.stderr.buffer
        self._lines: list[Line] = []

    def note(self, call: Call, status: int, started: float) -> None:
        """Count a request, and log it within a moment. `started` is a reading of `time.perf_counter`."""
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)
        at, seconds = time.time(), time.perf_counter() - started
        self._metrics.count(call.method, call.route, status, seconds, call.rows)
        moment, level = f"{_second(int(at))}.{int(at % 1 * 1000):03d}Z", "info" if status < SERVER_ERROR else "error"
        asked, took = (call.request_id, call.method, call.route), round(seconds * 1000, 3)
        self._lines.append(Line(moment, level, *asked, status, took, call.rows, call.key_name))

    def flush(self) -> None:
        """Log what was gathered."""
        lines, self._lines = self._lines, []
        if lines:
            self._output.write(_encode_lines(lines))
            self._output.flush()


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
