"""The front: every request passes here, on the ASGI protocol itself, since a framework would cost more than the answer.

It gives the request its id, looks at host, origin, key, size and time, bounds how many are answered at once, calls the
route's handler and turns errors into the route's form; then it counts and logs. The entry point is `Front`.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property, lru_cache
from http import HTTPStatus
from itertools import count
from typing import Any

from pipeline.errors import BarometerError, RequestError, TransientError
from pipeline.service.calls import Answer, Call, Route, problem
from pipeline.service.keys import Keyring
from pipeline.service.logs import Teller
from pipeline.service.metrics import Metrics
from pipeline.service.protocol import sent_whole
from pipeline.service.router import Match, Router
from pipeline.settings.service import LOOPBACK, Service

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
RETRY_SECONDS = b"1"
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
        self._only_loopback = service.host in LOOPBACK
        self._ids = count(1)
        self._id_prefix = os.urandom(5).hex()
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
            answer = await self._answered(match, call, receive, started)
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

    async def _answered(self, match: Match, call: Call, receive: Receive, started: float) -> Answer:
        """Return the handler's answer, or what is wrong in the route's form."""
        route = match.route
        task = asyncio.current_task(self._loop)
        assert task is not None, "uvicorn runs each request as a task"
        try:
            self._look(match, call)
            assert route is not None, "_look refuses what has no route"
            if route.streams:
                call.stream = _stream(receive)
                return await route.handle(call)
            self._since[task] = started
            if route.method == "POST":
                call.body = await self._body(call, receive)
            return await route.handle(call)
        except BarometerError as error:
            return _refusal(error, route, call)
        except asyncio.CancelledError:
            if task in self._since or (route and route.streams):  # uvicorn's doing, when it has to stop
                raise
            task.uncancel()
            return _refusal(_too_slow(self._service.request_seconds), route, call)
        except _GoneError:
            raise
        except Exception:  # what a handler did not foresee is ours, and is told in the log only
            log.exception("The request %s failed", call.request_id)
            return _refusal(_own_fault(call.request_id), route, call)
        finally:
            self._since.pop(task, None)

    def _look(self, match: Match, call: Call) -> None:
        """Refuse what need not be read."""
        headers = call.headers
        if self._only_loopback and _host(headers.get(b"host", b"")) not in LOOPBACK:
            raise RequestError(
                status=421,
                found="The header Host names another host.",
                expected="127.0.0.1 or localhost, the only ones this service listens for.",
                do="use that address; to be reached from elsewhere set service.host and service.auth.",
            )
        if match.route is None:
            raise _no_route(match, call)
        if match.route.method != "GET":
            _check_origin(headers)
        if self._metrics.in_flight > self._service.concurrent_requests and match.route.scope is not None:
            raise RequestError(
                status=503,
                found=f"More than {self._service.concurrent_requests} requests are being answered.",
                expected="fewer at once.",
                do="try again in a second.",
                headers=((b"retry-after", RETRY_SECONDS),),
            )
        if self._keyring is not None and match.route.scope is not None:
            key = self._keyring.check(headers.get(b"authorization"), headers.get(b"x-api-key"))
            call.key_name, call.key_scopes = key.name, key.scopes
            key.demand(match.route.scope)

    async def _body(self, call: Call, receive: Receive) -> bytes:
        """Return the body, whole, if it is not too large."""
        most = self._service.body_bytes
        length = call.headers.get(b"content-length")
        if length is not None and int(length) > most:
            raise _too_large(most)
        if call.headers.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError(
                status=415, found="The body is compressed.", expected="a plain body.", do="send it as it is."
            )
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
        raise _too_large(most)

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


def _refusal(error: BarometerError, route: Route | None, call: Call) -> Answer:
    """Return an error in the route's form; what is not the request's fault is ours, 503 when it may pass."""
    if not isinstance(error, RequestError):
        status = 503 if isinstance(error, TransientError) else 500
        retry = ((b"retry-after", RETRY_SECONDS),) if status == 503 else ()  # noqa: PLR2004 - as above
        log.error("The request %s failed: %s", call.request_id, error)
        error = RequestError(status=status, found=error.found, expected=error.expected, do=error.do, headers=retry)
    return (route.error if route else problem)(error, call.request_id)


def _no_route(match: Match, call: Call) -> RequestError:
    if match.methods:
        allowed = ", ".join(match.methods)
        return RequestError(
            status=405,
            found=f"This path does not know the method {call.method[:20]}.",
            expected=allowed + ".",
            do="see /docs.",
            headers=((b"allow", allowed.encode()),),
        )
    return RequestError(status=404, found="There is no such path.", expected="one of those in /docs.", do="see /docs.")


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
        raise RequestError(
            status=403,
            found="The request comes from another site's page.",
            expected="none, or a page of this service.",
            do="call the API from a server, not from a page.",
        )


def _too_large(most: int) -> RequestError:
    return RequestError(
        status=413,
        found="The body is too large.",
        expected=f"at most {most:,} bytes.",
        do="send several requests, or a file: POST /batch-predictions.",
    )


def _too_slow(seconds: float) -> RequestError:
    return RequestError(
        status=408,
        found=f"The request took more than {seconds:g} s.",
        expected="to have it whole, and its answer, by then.",
        do="send fewer rows at once, or a file: POST /batch-predictions.",
    )


def _own_fault(request_id: str) -> RequestError:
    return RequestError(
        status=500,
        found="The service failed.",
        expected="an answer.",
        do=f"tell its operators the request's id, {request_id}; the log has the reason.",
    )
