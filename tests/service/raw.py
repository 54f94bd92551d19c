"""HTTP by hand, for what a client library would not send, and for seeing when a connection is closed."""

import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Self

ROW = {"events": 3, "amount": 12.5, "is_busy": True, "kind": "a"}
"""An instance of the test company."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The body, which must be a whole problem (RFC 9457)."""
        assert self.headers["content-type"] == "application/problem+json"
        content = json.loads(self.body)
        assert content["status"] == self.status
        assert all(content[part] for part in ("type", "title", "detail", "expected", "do"))
        return content


class Connection:
    """A connection to a server on this machine; it takes what is sent in pieces of 64 KiB, with a pause after each."""

    def __init__(self, port: int, pause_seconds: float = 0, timeout_seconds: float = 15) -> None:
        self._pause_seconds = pause_seconds
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self._read = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._read.close()
        self._socket.close()

    def send(self, *parts: bytes) -> Self:
        for part in parts:
            self._socket.sendall(part)
        return self

    def reply(self, *, has_body: bool = True) -> Reply:
        """Return the next answer."""
        status = int(self._read.readline().split()[1])
        headers = {}
        while line := self._read.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        while has_body and (missing := int(headers.get("content-length", "0")) - len(body)):
            piece = self._read.read(min(missing, 65_536))
            assert piece, "the answer is cut off"
            body += piece
            time.sleep(self._pause_seconds)
        return Reply(status, headers, body)

    def is_closed(self, seconds: float = 5) -> bool:
        """Return whether the other side closes the connection within this time, without sending anything more."""
        self._socket.settimeout(seconds)
        try:
            rest = self._read.read(1)
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        assert rest == b"", rest
        return True


def request(
    method: str = "GET", target: str = "/healthz", headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Return a request's bytes; a header None is left out."""
    given = {"Host": "127.0.0.1"} | ({"Content-Length": str(len(body))} if body else {}) | (headers or {})
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunk(content: bytes) -> bytes:
    """Return a piece of a chunked body; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(content), content)


def ask(port: int, *parts: bytes, has_body: bool = True) -> Reply:
    """Return the answer to a request on a connection of its own."""
    with Connection(port) as connection:
        return connection.send(*parts).reply(has_body=has_body)


def instances(rows: int = 1) -> bytes:
    """Return a body for /predict."""
    return json.dumps({"instances": [ROW] * rows}).encode()


def predict(content: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Return a request for predictions."""
    return request("POST", "/predict", {"Content-Type": "application/json"} | (headers or {}), content)


HEALTH = request()
CHUNKED = predict(b"", {"Transfer-Encoding": "chunked"})
"""The head of one whose body follows in pieces."""
