"""What uvicorn leaves open in HTTP/1.1: how long a head may be, and how long a client may take to send and to read.

Without these bounds a client that sends a byte a minute, a header without an end, or never reads its response, would
hold connections and memory. This module also sends plain responses faster than uvicorn does, and reads a request that
asks for another protocol, whose body uvicorn loses or takes for the next request.

It is the one place that uses uvicorn's internals (the attributes of `HttpToolsProtocol` and `RequestResponseCycle`).
tests/service/test_uvicorn.py fails when an upgrade changes them. The entry points are `Protocol`, which
`pipeline.service.process` has uvicorn use, and `send_whole`.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pipeline.errors import RequestError
from pipeline.service.calls import PROBLEM, problem

HEAD_BYTES = 65_536
"""Of the request line and the headers together."""
HEAD_SECONDS = 10.0
"""From the connection, or a request's first byte, to the end of its head."""
GATHERED_BYTES = 65_536
"""More than this is sent at once."""
LINGER_SECONDS = 5.0
"""How long a client may go on sending a body that was answered before its end. Closed at once, the connection would be
reset before the client could read why."""
TAKE_SECONDS = 60.0
"""Close a connection whose client has read nothing for this long. Linux does it; elsewhere there is no such bound."""
OK = HTTPStatus.OK.value
PLAIN_HEADERS = 3
"""content-length, content-type, x-request-id."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_reading_head = True
        self._head_bytes = self._packet_bytes = 0
        self._reading: asyncio.TimerHandle | None = None
        """Ends what is read now, if it takes too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Bound the time of the first request's head, and the time in which the client reads nothing."""
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        if sys.platform == "linux":
            peer = transport.get_extra_info("socket")
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(TAKE_SECONDS * 1000))
        self._bound_reading(HEAD_SECONDS, self._close_late_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived; refuse what is not HTTP, or a head that goes on too long."""
        self._packet_bytes = len(data)
        if self._is_reading_head:  # but not in the packet in which it begins, which may end another request
            self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if not self._is_reading_head or self.transport.is_closing():
            return
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response("")
        elif self._reading is None:
            self._bound_reading(HEAD_SECONDS, self._close_late_head)

    def _feed(self, rest: bytes | memoryview) -> None:
        """Parse a packet; a request with Upgrade is read as if it had none, as RFC 9110 (7.8) allows.

        The parser ends such a request with its head and would take the body for a request. So a new parser is given the
        head again, without Upgrade. The packet may hold several such requests.
        """
        head = b""
        while True:
            try:
                if head:
                    self.parser.feed_data(head)
                self.parser.feed_data(rest)
            except HttpParserUpgrade as upgrade:
                head, rest = self._head_without_upgrade(), memoryview(rest)[upgrade.args[0] :]
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn makes it
            except HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        return b"".join((self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n", *fields, b"\r\n"))

    def on_message_begin(self) -> None:
        """Note that a head is being read."""
        super().on_message_begin()
        self._is_reading_head = True

    def on_headers_complete(self) -> None:
        """Start the request, unless it has Upgrade: then its head is parsed again.

        The parser has `send_400_response` answer a ValueError: the head is too large, or the method is CONNECT.
        """
        if self._head_bytes + self._packet_bytes > HEAD_BYTES:  # perhaps because of other requests, or of the body
            self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if self._head_bytes > HEAD_BYTES:
                raise ValueError("the head is too large")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("what follows is not HTTP")
            return
        self._is_reading_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Bound the rest of a body that is no longer read."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._bound_reading(LINGER_SECONDS, self.transport.close)

    def on_message_complete(self) -> None:
        """Wait for the next request, also after a body that was not read."""
        if self._is_reading_head:  # it has Upgrade, and does not end here
            return
        super().on_message_complete()
        if self._reading is not None:
            self._stop_timer()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or too much of it, and close: where the next request begins is unknown."""
        if self._head_bytes > HEAD_BYTES:
            limit = f"at most {HEAD_BYTES:,} bytes, with the request line."
            error = RequestError(431, "The request's headers are too large.", limit, "send less in them.")
        else:
            error = RequestError(400, msg, "HTTP/1.1.", "correct the client.")
        self.logger.warning(error.found)
        body = bytes(problem(error, "").body)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n" % (error.status, HTTPStatus(error.status).phrase.encode())
            + b"content-type: %s\r\ncontent-length: %d\r\n" % (PROBLEM.encode(), len(body))
            + b"connection: close\r\n\r\n"
            + body
        )
        self.transport.close()

    def _close_late_head(self) -> None:
        """Close the connection, unless the head waits for the responses to the requests before it."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._bound_reading(HEAD_SECONDS, self._close_late_head)

    def _bound_reading(self, seconds: float, end: Callable[[], None]) -> None:
        self._stop_timer()
        self._reading = self.loop.call_later(seconds, end)

    def _stop_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def send_whole(send: Any, response: Response) -> bool:
    """Send a response in one piece, if that needs no waiting and ends no connection; return whether it was sent.

    uvicorn searches every byte of each header for what could end a line, which takes a tenth of the time of a
    prediction (docs/decisions/0012). So only a response with status 200 and the three headers that the front knows to
    be clean is sent here. For any other, and where `send` is not uvicorn's method that this was written for, the caller
    sends the response by ASGI's messages.
    """
    cycle, body = getattr(send, "__self__", None), getattr(response, "body", None)  # what streams has no body
    if type(cycle) is not RequestResponseCycle or body is None:
        return False
    if response.status_code != OK or len(response.raw_headers) != PLAIN_HEADERS:
        return False
    if not cycle.keep_alive or cycle.flow.write_paused or cycle.disconnected:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    (a, b), (c, d), (e, f) = response.raw_headers
    head = b"%b%b%b: %b\r\n%b: %b\r\n%b: %b\r\n\r\n"
    cycle.transport.write(head % (STATUS_LINE[OK], _lines(tuple(cycle.default_headers)), a, b, c, d, e, f) + body)
    cycle.message_event.set()
    cycle.on_response()
    return True


@lru_cache(maxsize=4)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class Gathering:
    """A transport that sends together what is written in one turn of the loop, for all connections in a row.

    A response may be written in pieces, and the responses of a batch one after the other. Each piece that is sent alone
    wakes the client, which on a virtual machine costs as much as making the response.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._pieces: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data with what else is written in this turn."""
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes > GATHERED_BYTES:
            self._send()

    def close(self) -> None:
        """Send what was written, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))
