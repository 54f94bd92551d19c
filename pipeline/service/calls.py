"""What passes between the front and an endpoint: the call, the response, and the table of routes.

An endpoint is an async function from a `Call` (Starlette's `Request` with its body read and its sender known) to a
Starlette `Response`. It raises a `RequestError` for what it cannot answer, and the front turns that into the form that
the route's contract gives to errors. Entry points: `Call`, `Route`, `as_json` and `problem`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from pipeline.errors import RequestError
from pipeline.settings.service import AccessScope

JSON = "application/json"
JSON_LINES = "application/jsonlines"
JSON_LINES_NAMES = (JSON_LINES, "application/jsonl", "application/x-ndjson")
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
PROBLEM = "application/problem+json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


class Call(Request):
    """A request, as an endpoint gets it."""

    def __init__(self, scope: Scope, receive: Receive, route: str) -> None:
        super().__init__(scope, receive)
        self.route = route
        """The path of the route that answers, with its parameters unfilled; `unknown` where there is none."""
        self.request_id = ""
        """The client's own `X-Request-ID` if it is a good one, else a new one."""
        self.fields: Mapping[bytes, bytes] = dict(scope["headers"])
        """The headers by lower-case name. Of a header that comes several times the last counts; a list is joined."""
        self.content = b""
        """The body, whole; empty for a route that streams it (`stream()`)."""
        self.key_name: str | None = None
        self.key_scopes: frozenset[str] = frozenset()
        self.rows = 0
        """How many predictions were asked for: the endpoint sets it, for the log and the metrics."""

    @property
    def media(self) -> "Media":
        """The body's media type."""
        return _media(self.fields.get(b"content-type", b""))


class Media(NamedTuple):
    """A media type, in lower case."""

    name: str
    """Without its parameters; empty when not given."""
    parameters: Mapping[str, str]


@lru_cache(maxsize=256)
def _media(header: bytes) -> Media:
    name, *parts = header.decode("latin-1").lower().split(";")
    pairs = (part.partition("=") for part in parts)
    return Media(name.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs})


Endpoint = Callable[[Call], Awaitable[Response]]
ErrorForm = Callable[[RequestError, str], Response]
"""From an error and the request's id to what the contract's clients understand."""


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return content as a response in JSON."""
    return Response(msgspec.json.encode(content), status, headers, JSON)


class Problem(msgspec.Struct, omit_defaults=True):
    """An error as RFC 9457 has it, with its three parts, and the row and field at fault."""

    type: str
    title: str
    status: int
    detail: str
    expected: str
    do: str
    request_id: str
    row: Annotated[int, msgspec.Meta(ge=0)] | None = None
    field: str | None = None


def problem(error: RequestError, request_id: str) -> Response:
    """Return an error as a `Problem`."""
    title, parts = HTTPStatus(error.status).phrase, (str(error), error.expected, error.do)
    content = Problem("about:blank", title, error.status, *parts, request_id, error.row, error.field)
    return Response(msgspec.json.encode(content), error.status, error.headers, PROBLEM)


Paths = Callable[[Any], Mapping[str, Any]]
"""From the signature of a model, or None, to OpenAPI's description of paths."""


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Literal, or with parameters: `/predictions/{customer_id}/{product_id}`."""
    endpoint: Endpoint
    scope: AccessScope | None = None
    """What the key must be allowed to do; None: open to all."""
    paths: Paths | None = None
    """With this one among them; None leaves the route out of the document."""
    error: ErrorForm = problem
    is_streaming: bool = False
    """Whether the endpoint reads `Call.stream()` itself, beyond `service.body_bytes` and `service.request_seconds`. It
    bounds them itself, and such requests are counted apart."""
