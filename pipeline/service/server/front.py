"""The front: every request passes here, on the ASGI protocol itself, since a framework would cost more than the answer.

It gives the request its id, looks at host, origin, key, size and time, bounds how many are answered at once, calls the
route's handler and has `refusals` turn errors into the route's form; then it counts and logs. The entry point is
`Front`.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import cached_property, lru_cache
from http import HTTPStatus
from itertools import count
from typing import Any

from pipeline.errors import BarometerError
from pipeline.service.access.keys import Keyring
from pipeline.service.observe.logs import Teller
from pipeline.service.observe.metrics import Metrics
from pipeline.service.server import refusals
from pipeline.service.server.calls import Answer, Call, Route
from pipeline.service.server.protocol import sent_whole
from pipeline.service.server.router import Match, Router
from pipeline.settings.service import LOOPBACK, Service

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Sequence[tuple[bytes, bytes]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
LISTS = (b"accept", b"content-encoding", b"if-none-match")
"""Headers that may come in several lines, each a part of one list (RFC 9110, 5.3)."""
UPLOADS_AT_ONCE = 8
"""Each may fill the disk with `service.upload_bytes` before it is looked at; and as many threads write (`aside`)."""
UPLOAD_RETRY_SECONDS = 30
WATCH_SECONDS = 0.5
"""How often it is looked whether a request takes too long: a timer for each would cost as much as scoring it."""
OK, NOT_MODIFIED = HTTPStatus.OK.value, HTTPStatus.NOT_MODIFIED.value  # an enum's members take long to look up
GONE = 499
"""In the log and the metrics, as nginx has it: who asked has closed the connection."""
CLOSING = (b"connection", b"close")

log = logging.getLogger(__name__)


class Front:
    """The ASGI application.

    Parameters
    ----------
    router
        The routes.
    service
        The limits.
    keyring
        Who may ask; None: everybody.
    metrics, teller
        Where requests are counted and told of.
    """

    def __init__(
        self, router: Router, service: Service, keyring: Keyring | None, metrics: Metrics, teller: Teller
    ) -> None:
        self._router = router
        self._service = service
        self._keyring = keyring
        self._metrics = metrics
        self._teller = teller
        self._files_path = _files_path(router, service)
        self._only_loopback = service.host in LOOPBACK
        self._ids = count(1)
        self._id_prefix = os.urandom(5).hex()
        self._uploads = 0
        self._since: dict[asyncio.Task[None], float] = {}
        self._watch: asyncio.Task[None] | None = None
        self.stopping = False
        """Then every answer closes its connection, so that none is cut off."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        assert scope["type"] == "http", "uvicorn is told to speak nothing else"
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        match = self._router.find(scope["method"], scope["raw_path"].decode("latin-1"))
        route = match.route.path if match.route else "unknown"
        call = Call(scope["method"], route, scope["query_string"], headers, b"", request_id, match.parameters)
        self._metrics.in_flight += 1
        status = GONE
        if self._watch is None:
            self._watch = asyncio.create_task(self._watching())
        try:
            answer = await self._answered(match, call, scope["headers"], receive, started)
            status = answer.status
            if not self._sent_whole(answer, call, send):
                await self._send(answer, call, send)
        except _GoneError:
            pass
        finally:
            self._metrics.in_flight -= 1
            self._teller.tell(call, status, started)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop, asked for once: Python 3.11 makes a system call of each time."""
        return asyncio.get_running_loop()

    async def _watching(self) -> None:
        """Cancel what takes too long."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            latest = time.perf_counter() - self._service.request_seconds
            for task in [task for task, started in self._since.items() if started < latest]:
                del self._since[task]
                task.cancel()

    async def _answered(self, match: Match, call: Call, given: Headers, receive: Receive, started: float) -> Answer:
        """Return the handler's answer, or what is wrong in the route's form."""
        route = match.route
        task = asyncio.current_task(self._loop)
        assert task is not None, "uvicorn runs each request as a task"
        try:
            self._look(match, call, given)
            assert route is not None, "_look refuses what has no route"
            if route.streams:
                return await self._taken_in(route, call, receive)
            self._since[task] = started
            if route.method == "POST":
                call.body = await self._body(call, receive)
            return await route.handle(call)
        except BarometerError as error:
            return refusals.refusal(error, route, call, self._files_path)
        except asyncio.CancelledError:
            if task in self._since or (route and route.streams):  # uvicorn's doing, when it has to stop
                raise
            task.uncancel()
            late = refusals.too_slow(self._service.request_seconds)
            return refusals.refusal(late, route, call, self._files_path)
        except _GoneError:
            raise
        except Exception:  # what a handler did not foresee is ours, and is told in the log only
            log.exception("The request %s failed", call.request_id)
            return refusals.refusal(refusals.own_fault(call.request_id), route, call, None)
        finally:
            self._since.pop(task, None)

    def _look(self, match: Match, call: Call, given: Headers) -> None:
        """Refuse what need not be read."""
        if len(given) != len(call.headers):
            call.headers = _joined(given)
        headers = call.headers
        if self._only_loopback and _host(headers.get(b"host", b"")) not in LOOPBACK:
            raise refusals.another_host()
        route = match.route
        if route is None:
            raise refusals.no_route(match, call)
        if route.method != "GET":
            _check_origin(headers)
        most = self._service.concurrent_requests
        if self._metrics.in_flight - self._uploads > most and route.scope is not None and not route.streams:
            raise refusals.busy(most, "requests are being answered", refusals.RETRY_SECONDS)
        if self._keyring is not None and route.scope is not None:
            key = self._keyring.check(headers.get(b"authorization"), headers.get(b"x-api-key"))
            call.key_name, call.key_scopes = key.name, key.scopes
            key.demand(route.scope)

    async def _taken_in(self, route: Route, call: Call, receive: Receive) -> Answer:
        """Return the answer to a body that comes in its own time; such are counted apart, since they take long."""
        if self._uploads >= UPLOADS_AT_ONCE:
            raise refusals.busy(UPLOADS_AT_ONCE, "files are being taken in", UPLOAD_RETRY_SECONDS)
        self._uploads += 1
        try:
            call.stream = _stream(receive)
            return await route.handle(call)
        finally:
            self._uploads -= 1

    async def _body(self, call: Call, receive: Receive) -> bytes:
        """Return the body, whole, if it is not too large."""
        most = self._service.body_bytes
        length = call.headers.get(b"content-length")
        if length is not None and int(length) > most:
            raise refusals.too_large(most)
        if call.headers.get(b"content-encoding", b"identity") != b"identity":
            raise refusals.compressed()
        message = _present(await receive())
        body: bytes = message.get("body", b"")
        if not message.get("more_body") and len(body) <= most:
            return body
        parts, size = [body], len(body)
        while size <= most:
            if not message.get("more_body"):
                return b"".join(parts)
            message = _present(await receive())
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        raise refusals.too_large(most)

    async def _send(self, answer: Answer, call: Call, send: Send) -> None:
        headers = [(b"content-type", answer.content_type.encode()), (b"x-request-id", call.request_id.encode())]
        headers += answer.headers
        if isinstance(answer.body, bytes) and answer.status != NOT_MODIFIED:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        if self.stopping:
            headers.append(CLOSING)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if isinstance(answer.body, bytes):
            await send({"type": "http.response.body", "body": b"" if call.method == "HEAD" else answer.body})
            return
        async for part in answer.body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _sent_whole(self, answer: Answer, call: Call, send: Send) -> bool:
        """Send an answer in one piece if it is a plain one; return whether it was."""
        body = answer.body
        if answer.status != OK or answer.headers or not isinstance(body, bytes):
            return False
        if self.stopping or call.method == "HEAD":
            return False
        head = b"content-type: %b\r\nx-request-id: %b\r\ncontent-length: %d\r\n"
        headers = head % (answer.content_type.encode(), call.request_id.encode(), len(body))
        return sent_whole(send, answer.status, headers, body)

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._id_prefix}-{next(self._ids)}"


class _GoneError(Exception):
    """Who asked has closed the connection."""


def _present(message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a piece of the body; who has gone away sends none."""
    if message["type"] == "http.disconnect":
        raise _GoneError
    return message


async def _stream(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = _present(await receive())
        more = message.get("more_body", False)
        yield message.get("body", b"")


def _files_path(router: Router, service: Service) -> str | None:
    """Return where files are taken in; without Airflow, which a folder of a model does without, nowhere."""
    return None if service.model_folder else next((route.path for route in router.routes if route.streams), None)


def _joined(given: Headers) -> dict[bytes, bytes]:
    """Return headers of which some come several times: of a list all, of others the last."""
    headers = dict(given)
    if [name for name, _ in given].count(b"host") > 1:
        raise refusals.two_hosts()
    for name in headers.keys() & LISTS:
        headers[name] = b", ".join(value for other, value in given if other == name)
    return headers


@lru_cache(maxsize=256)
def _host(header: bytes) -> str:
    """Return the host of a header Host, without its port."""
    text = header.decode("latin-1").lower()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what a page of another site has a browser send: the browser would add the person's key."""
    origin = headers.get(b"origin")
    is_ours = origin is None or origin.partition(b"://")[2] == headers.get(b"host")
    if not is_ours or headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
        raise refusals.another_site()
