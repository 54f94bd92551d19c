"""The service's log: a JSON object a line on standard error, of each request and of what happens besides.

Neither inputs nor keys are in it. Entry points: `RequestLog`, which also counts the requests, and `set_up`.
"""

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import msgspec

from pipeline.service.calls import Call
from pipeline.service.observe.metrics import Metrics

GATHER_SECONDS = 0.1
SERVER_ERROR = 500
_lines = msgspec.json.Encoder()


class Answered(NamedTuple):
    """What is known of a request once it was answered."""

    at: float
    """When, in seconds since the epoch."""
    seconds: float
    """How long it took."""
    status: int
    call: Call


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What the log says of a request."""

    time: str
    level: str
    request_id: str
    method: str
    route: str
    """Not the path, which holds ids of customers."""
    status: int
    milliseconds: float
    rows: int = 0
    key: str | None = None


class RequestLog:
    """Counts and logs requests, those of a moment together: one at a time it would cost as much as to score them.

    Parameters
    ----------
    metrics
        Where they are counted.
    output
        Where the log goes; standard error when not given.
    """

    def __init__(self, metrics: Metrics, output: BinaryIO | None = None) -> None:
        self._metrics = metrics
        self._output = output or sys.stderr.buffer
        self._told: list[Answered] = []

    def note(self, call: Call, status: int, started: float) -> None:
        """Count and log a request within a moment; `started` as `time.perf_counter` had it."""
        if not self._told:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)
        self._told.append(Answered(time.time(), time.perf_counter() - started, status, call))

    def flush(self) -> None:
        """Count and log what was gathered."""
        told, self._told = self._told, []
        for one in told:
            self._metrics.count(one.call.method, one.call.route, one.status, one.seconds, one.call.rows)
        if told:
            self._output.write(_lines.encode_lines([_line(one) for one in told]))
            self._output.flush()


def _line(told: Answered) -> Line:
    at, seconds, status, call = told
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
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request to Airflow
