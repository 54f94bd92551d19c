"""What uvicorn leaves open in HTTP/1.1: how long a head may be, and how long what is neither read nor sent may take.

Without these bounds a stranger who sends a byte a minute, a header without an end, or takes no answer, would hold
connections and memory, whatever the front says. What it makes slow: an answer that is known at once. And what it gets
wrong: a request that asks for another protocol, whose body it loses, or takes for the next request.
The entry points are `Protocol`, which `pipeline.service.server.process` has uvicorn use, and `sent_whole`.
"""

import asyncio
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
"""More that is written is sent at once."""
LINGER_SECONDS = 5.0
"""Who was answered before the whole body was read may send on for so long: closed at once, it would not see why."""
TAKE_SECONDS = 60.0
"""Who takes nothing of its answer for so long is cut off."""
OK = HTTPStatus.OK.value
PLAIN = 3
"""Headers of a plain response: content-length, content-type, x-request-id."""
MALFORMED = "Invalid HTTP request received."


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_reading_head = True
        self._head_bytes = self._packet_bytes = 0
        self._reading = _Timer(self.loop)
        self._writing = _Timer(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request's head its time."""
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        self._reading.start(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._reading.stop()
        self._writing.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, and refuse what is no HTTP, or a head that goes on too long."""
        self._packet_bytes = len(data)
        if self._is_reading_head:  # and not in the packet in which it begins, which may end another request
            self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._read_without_upgrade(memoryview(data)[upgrade.args[0] :])
        except HttpParserError:
            self.send_400_response(MALFORMED)
        if not self._is_reading_head or self.transport.is_closing():
            return
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response("")
        elif not self._reading.is_running:
            self._reading.start(HEAD_SECONDS, self._head_is_late)

    def _read_without_upgrade(self, rest: memoryview) -> None:
        """Read a request with Upgrade as if it had none, which RFC 9110 (7.8) leaves to a server; and what follows it.

        The parser has ended it with its head, and would take its body for a request. So a new one is given that head
        again. That goes on while there are more in what has arrived.
        """
        while True:
            head = self._head_without_upgrade()
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn makes it
            try:
                self.parser.feed_data(head)
                self.parser.feed_data(rest)
            except HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except HttpParserError:
                self.send_400_response(MALFORMED)
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
        """Hand the request on, unless it has Upgrade: then its head comes again.

        Raises
        ------
        ValueError
            If its head is too large, or it is CONNECT; the parser has that answered by `send_400_response`.
        """
        if self._head_bytes + self._packet_bytes > HEAD_BYTES:  # maybe by other requests, or the body: look closely
            self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if self._head_bytes > HEAD_BYTES:
                raise ValueError("the head is too large")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("what follows is no HTTP")
            return
        self._is_reading_head = False
        self._head_bytes = 0
        self._reading.stop()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Bound what is still to come of a body that nobody will read."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._reading.start(LINGER_SECONDS, self.transport.close)

    def on_message_complete(self) -> None:
        """Wait for the next request, after a body that nobody has read."""
        if self._is_reading_head:  # it has Upgrade, and does not end here
            return
        super().on_message_complete()
        if self._reading.is_running:
            self._reading.stop()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """Watch whether what waits to be sent is taken."""
        super().pause_writing()
        self._writing.start(TAKE_SECONDS, self._look_at_taking, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Watch no longer."""
        super().resume_writing()
        self._writing.stop()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or too much of it, and close: what follows could not be told apart."""
        error = _too_large() if self._head_bytes > HEAD_BYTES else _malformed(msg)
        self.logger.warning(error.found)
        answer = problem(error, "")
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n" % (answer.status_code, HTTPStatus(answer.status_code).phrase.encode())
            + b"content-type: %s\r\ncontent-length: %d\r\n" % (PROBLEM.encode(), len(answer.body))
            + b"connection: close\r\n\r\n"
            + answer.body
        )
        self.transport.close()

    def _head_is_late(self) -> None:
        """Close, unless the head waits for the answers to the requests before it, while nothing more is read."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._reading.start(HEAD_SECONDS, self._head_is_late)

    def _look_at_taking(self, waited_bytes: int) -> None:
        waiting_bytes = self.transport.get_write_buffer_size()
        if waiting_bytes >= waited_bytes:
            self.transport.abort()  # to close would wait for what is not taken
        else:
            self._writing.start(TAKE_SECONDS, self._look_at_taking, waiting_bytes)


def send_whole(send: Any, response: Response) -> bool:
    """Send a response in one piece, if that needs no waiting and ends no connection; return whether it was sent.

    uvicorn searches every byte of each header for what could end a line, which takes a tenth of the time of a
    prediction (docs/decisions/0012). So only a response with status 200 and the three headers that the front knows to
    be clean (length, type, request id) is sent here. Where uvicorn's `send` is not the method that this was written
    for, nothing is sent, and the caller sends the response by ASGI's messages.

    Parameters
    ----------
    send
        What uvicorn gave the application for this request.
    response
        Any response.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or response.status_code != OK or len(response.raw_headers) != PLAIN:
        return False
    if not cycle.keep_alive or cycle.flow.write_paused or cycle.disconnected:
        return False
    body = getattr(response, "body", None)
    if body is None:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    own = b"".join([b"%b: %b\r\n" % header for header in response.raw_headers])
    cycle.transport.write(b"".join((STATUS_LINE[OK], _lines(tuple(cycle.default_headers)), own, b"\r\n", body)))
    cycle.message_event.set()
    cycle.on_response()
    return True


@lru_cache(maxsize=4)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class Gathering:
    """A transport that sends what is written in one turn of the loop together, and that of all connections in a row.

    An answer is written in two pieces, head and body, and answers of a batch are made one after the other. Sent piece
    by piece, each would wake the client, which on a virtual machine costs as much as making the answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data with what else is written now."""
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

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are not sent yet."""
        return self._bytes + self._transport.get_write_buffer_size()

    def _send(self) -> None:
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))


class _Timer:
    """One call to come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, call, *arguments)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def _too_large() -> RequestError:
    return RequestError(
        431,
        "The request's headers are too large.",
        f"at most {HEAD_BYTES:,} bytes, with the request line.",
        "send less in them.",
    )


def _malformed(found: str) -> RequestError:
    return RequestError(400, found, "HTTP/1.1.", "mend the client.")
