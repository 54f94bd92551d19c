"""Calls as the front makes them, for tests of what reads them."""

from collections.abc import AsyncIterator, Mapping

from starlette.types import Message

from pipeline.service.calls import Call


def call_of(
    path: str = "/predict",
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    stream: AsyncIterator[bytes] | None = None,
) -> Call:
    """A POST whose body was read, or comes as a stream."""

    async def receive() -> Message:
        assert stream is not None
        piece = await anext(stream, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw}
    call = Call(scope, receive, path)
    call.request_id, call.content = "1", content
    return call
