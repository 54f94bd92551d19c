"""What passes between the front and a route's handler: a call, its answer, and the table of routes.

A handler is an async function `Call → Answer` that raises a `RequestError` for what it cannot answer; the front turns
that into the route's own form of error. The things to use are `Call`, `Answer`, `Route` and `problem`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import parse_qs

import msgspec

from pipeline.errors import RequestError

if TYPE_CHECKING:  # it needs NumPy, which `barometer keys` need not wait for
    from pipeline.service.instances.signature import Signature

Scope = Literal["predict", "batch", "admin"]
"""What an API key may be allowed: to predict, to have files scored, and everything."""
JSON, JSON_LINES, CSV, PROBLEM, HTML, TEXT = (
    "application/json",
    "application/jsonlines",
    "text/csv",
    "application/problem+json",
    "text/html; charset=utf-8",
    "text/plain; charset=utf-8",
)


@dataclass(slots=True)
class Call:
    """A request, its body read (but for a route that streams it)."""

    method: str
    route: str
    """The path of the route that answers, its parameters unfilled; `unknown` where there is none, since anybody can
    make up paths."""
    query_string: bytes
    headers: Mapping[bytes, bytes]
    """By lower-case name; of several the last, of lists all."""
    body: bytes
    request_id: str
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    """Percent-decoded; a parameter may hold a slash."""
    key_name: str | None = None
    """Who asks, where keys are required."""
    key_scopes: frozenset[str] = frozenset()
    stream: AsyncIterator[bytes] | None = None
    """The body of a route that streams it."""
    rows: int = 0
    """How many predictions were asked for: the handler says so, for the log and the metrics."""

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of several of a name the last."""
        if not self.query_string:
            return {}
        values = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)
        return {name: given[-1] for name, given in values.items()}

    @property
    def media(self) -> "Media":
        """The body's media type."""
        return _media(self.headers.get(b"content-type", b""))


class Media(NamedTuple):
    """A media type, lower-case."""

    name: str
    """Without its parameters; empty when not given."""
    parameters: Mapping[str, str]


@lru_cache(maxsize=256)
def _media(header: bytes) -> Media:
    name, *parts = header.decode("latin-1").lower().split(";")
    pairs = (part.partition("=") for part in parts)
    return Media(name.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs})


@dataclass(slots=True)
class Answer:
    """What is sent back."""

    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Call], Awaitable[Answer]]
ErrorForm = Callable[[RequestError, str], Answer]
"""From an error and the request's id to what the contract's clients understand."""


def problem(error: RequestError, request_id: str) -> Answer:
    """Return an error as RFC 9457 has it, with its three parts, and the row and field at fault."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": str(error),
        "expected": error.expected,
        "do": error.do,
        "request_id": request_id,
    }
    content |= {name: value for name in ("row", "field") if (value := getattr(error, name)) is not None}
    return Answer(msgspec.json.encode(content), PROBLEM, error.status, error.headers)


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Literal, or with parameters: `/predictions/{customer_id}/{product_id}`."""
    handle: Handler
    scope: Scope | None = None
    """What the key must be allowed; None: open to all."""
    operation: Mapping[str, Any] | Callable[["Signature | None"], Mapping[str, Any]] | None = None
    """The operation object of OpenAPI, or what makes it for a model; None leaves it out of the document."""
    error: ErrorForm = problem
    streams: bool = False
    """Whether the handler reads `Call.stream` itself, beyond `service.body_bytes` and `service.request_seconds`; it
    bounds them, and such requests are counted apart."""
