"""The front: every request passes here, hot or not, on its way to an endpoint and back.

It finds the route, gives the request its id, has `access` admit it, reads the body within bounds, bounds how many
requests are answered at once and for how long, turns errors into the contract's form, sends the response, counts and
logs. The entry point is `Front`, the ASGI application.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import count
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from pipeline.errors import BarometerError, RequestError, TransientError
from pipeline.service.access.admission import Keyring, admit
from pipeline.service.calls import Call, Route
from pipeline.service.observe.logs import RequestLog
from pipeline.service.observe.metrics import Metrics
from pipeline.service.server.protocol import send_whole
from pipeline.settings.service import LOOPBACK, Service

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
UPLOADS_AT_ONCE = 8
"""Each may fill the disk with `service.upload_bytes` before anyone looks at it."""
UPLOAD_RETRY_SECONDS = 30
RETRY_SECONDS = 1
WATCH_SECONDS = 0.5
"""How often requests that take too long are looked for: a timer for each would cost as much as scoring it."""
GONE = 499
"""The status in the log and the metrics, as in nginx, when the client has closed the connection."""

log = logging.getLogger(__name__)


class Front:
    """Answers requests by their routes. `files_path` is where a request that is too large may be sent as a file."""

    def __init__(
        self,
        routes: Sequence[Route],
        service: Service,
        keyring: Keyring | None,
        metrics: Metrics,
        request_log: RequestLog,
        *,
        files_path: str | None,
    ) -> None:
        self._routes = _Routes(routes)
        self._service, self._keyring, self._files_path = service, keyring, files_path
        self._metrics, self._request_log = metrics, request_log
        self._only_loopback = service.host in LOOPBACK
        self._ids = count(1)
        self._id_prefix = os.urandom(5).hex()
        self._uploads = 0
        self._started: dict[asyncio.Task[None], float] = {}
        self._watch: asyncio.Task[None] | None = None
        self.stopping = False
        """While the service stops, every response closes its connection, so that none is cut off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; uvicorn is set up to speak nothing but HTTP."""
        started = time.perf_counter()
        route = self._routes.find(scope)
        call = Call(scope, receive, route.path)
        given_id = call.fields.get(b"x-request-id", b"")
        call.request_id = (
            given_id.decode() if REQUEST_ID.fullmatch(given_id) else f"{self._id_prefix}-{next(self._ids)}"
        )
        if self._watch is None:
            self._watch = asyncio.create_task(self._cancel_slow_requests())
        self._metrics.in_flight += 1
        status = GONE
        try:
            response = await self._response(route, call, started)
            status = response.status_code
            await self._send(response, call, send)
        except ClientDisconnect:
            pass
        finally:
            self._metrics.in_flight -= 1
            self._request_log.note(call, status, started)

    async def _response(self, route: Route, call: Call, started: float) -> Response:
        """Return the endpoint's response, or the error in the route's form."""
        task = asyncio.current_task(self._loop)
        assert task is not None, "uvicorn runs each request as a task"
        try:
            admit(call, route, self._keyring, only_loopback=self._only_loopback)
            if route.is_streaming:
                return await self._upload_response(route, call)
            if route.scope is not None:
                self._check_room()
            self._started[task] = started
            if route.method == "POST":
                call.content = await self._body(call)
            return await route.endpoint(call)
        except BarometerError as error:
            return self._refusal(error, route, call)
        except asyncio.CancelledError:
            if task in self._started or route.is_streaming:  # uvicorn cancels it, because it has to stop
                raise
            task.uncancel()
            found = f"The request took more than {self._service.request_seconds:g} s."
            slow = RequestError(408, found, "the whole request and its answer by then.", "send fewer rows at once.")
            return self._refusal(slow, route, call)
        except ClientDisconnect:
            raise
        except Exception:  # a bug of ours: its reason is for the log only
            log.exception("The request %s failed", call.request_id)
            do = f"give its operators the request's id, {call.request_id}; the log has the reason."
            return route.error(RequestError(500, "The service failed.", "an answer.", do), call.request_id)
        finally:
            self._started.pop(task, None)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop, asked for once: Python 3.11 makes a system call each time."""
        return asyncio.get_running_loop()

    async def _cancel_slow_requests(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            latest = time.perf_counter() - self._service.request_seconds
            for task in [task for task, started in self._started.items() if started < latest]:
                del self._started[task]
                task.cancel()

    def _check_room(self) -> None:
        most = self._service.concurrent_requests
        if self._metrics.in_flight - self._uploads > most:
            raise _busy(f"{most} requests are being answered.", RETRY_SECONDS)

    async def _upload_response(self, route: Route, call: Call) -> Response:
        """Return the response to a body that comes in its own time; such requests are counted apart."""
        if self._uploads >= UPLOADS_AT_ONCE:
            raise _busy(f"{UPLOADS_AT_ONCE} files are being taken in.", UPLOAD_RETRY_SECONDS)
        self._uploads += 1
        try:
            return await route.endpoint(call)
        finally:
            self._uploads -= 1

    async def _body(self, call: Call) -> bytes:
        """Return the body, whole, if it is not too large."""
        most, size = self._service.body_bytes, 0
        declared = int(call.fields.get(b"content-length", 0))
        if declared <= most and call.fields.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError(415, "The body is compressed.", "a plain body.", "send it uncompressed.")
        parts: list[bytes] = []
        has_more = True
        while has_more and size <= most and declared <= most:
            message = await call.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            has_more = message.get("more_body", False)
        if size > most or declared > most:
            raise RequestError(413, "The body is too large.", f"at most {most:,} bytes.", "send several requests.")
        return b"".join(parts)

    def _refusal(self, error: BarometerError, route: Route, call: Call) -> Response:
        """Return an error in the route's form; what is not the client's fault is ours, 503 when it may pass."""
        if not isinstance(error, RequestError):
            log.error("The request %s failed: %s", call.request_id, error)
            may_pass = isinstance(error, TransientError)
            headers = {"retry-after": str(RETRY_SECONDS)} if may_pass else {}
            error = RequestError(503 if may_pass else 500, error.found, error.expected, error.do, headers=headers)
        if self._files_path and error.status in {408, 413} and not route.is_streaming:
            error.do = f"{error.do.removesuffix('.')}, or a file: POST {self._files_path}."
        return route.error(error, call.request_id)

    async def _send(self, response: Response, call: Call, send: Send) -> None:
        response.raw_headers.append((b"x-request-id", call.request_id.encode()))
        if self.stopping:
            response.raw_headers.append((b"connection", b"close"))
        elif call.method != "HEAD" and send_whole(send, response):
            return
        await response(call.scope, call.receive, send)


def _busy(found: str, retry_seconds: int) -> RequestError:
    retry = {"retry-after": str(retry_seconds)}
    return RequestError(503, found, "fewer at once.", f"try again in {retry_seconds} s.", headers=retry)


class _Routes:
    """The routes of the service. Of several with one method and path the first counts. GET's route answers HEAD too.

    The prediction routes are literal paths, so that the hot way is one look into a dict.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            paths.setdefault(route.path, {}).setdefault(route.method, route)
        self._literal = {(route.method, path): route for path in paths for route in paths[path].values()}
        literal_first = sorted(paths, key=lambda path: "{" in path)
        self._patterns = [(compile_path(path)[0], paths[path]) for path in literal_first]

    def find(self, scope: Scope) -> Route:
        """Return the route of a request, with the path's parameters in its scope, or one that refuses it."""
        path = scope["raw_path"].decode("latin-1")  # percent-encoded, so that an encoded slash is part of a parameter
        if (route := self._literal.get((scope["method"], path))) is not None:
            return route
        for pattern, methods in self._patterns:
            if found := pattern.match(path):
                scope["path_params"] = {name: unquote(value) for name, value in found.groupdict().items()}
                return methods.get("GET" if scope["method"] == "HEAD" else scope["method"]) or _refusing(methods)
        return _refusing({})


def _refusing(methods: Mapping[str, Route]) -> Route:
    """Return a route that refuses what the path, which has these methods, does not have."""

    async def refuse(call: Call) -> Response:
        if not methods:
            raise RequestError(404, "There is no such path.", "one of those in /docs.", "see /docs.")
        allowed = ", ".join(sorted({*methods} | ({"HEAD"} if "GET" in methods else set())))
        found = f"This path does not have the method {call.method[:20]}."
        raise RequestError(405, found, f"{allowed}.", "see /docs.", headers={"allow": allowed})

    return Route("GET", "unknown", refuse)
