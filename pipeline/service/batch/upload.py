"""A file on its way in: streamed to disk as it comes, never whole in memory; or the address of one to be read.

Stands behind `batch`. A file comes as the body itself, its media type saying what it is, or as the one file of a form
(multipart/form-data), its name saying so. The entry points are `take_in` and `idempotency_key`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from pipeline.batch_jobs.allowed_uris import check_uri
from pipeline.batch_jobs.places import FORMATS, incoming, suffix_of
from pipeline.errors import RequestError
from pipeline.service.batch.form import MEDIA_TYPES, FormReader
from pipeline.service.calls import Call
from pipeline.service.thread_pools import files as aside
from pipeline.settings import Settings

BLOCK_BYTES = 1 << 20
"""So much is gathered before it is written, in a thread."""
JSON_BYTES = 65_536
LEAST_BYTES_A_SECOND = 50_000
"""A poor line sends as much: the largest file of 2 GB has 11 hours. Who sends less only holds the place of another."""
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


@dataclass
class Wanted:
    """What is to be scored: a file that has arrived, or an address."""

    arrived: Path | None = None
    digest: str = ""
    suffix: str = ""
    """Of a file that has arrived: csv, csv.gz, …"""
    uri: str | None = None
    format: str | None = None
    """Of an address that does not say it."""

    def name(self, job_id: str) -> str | None:
        """Return what the file will be called once it is handed in; see `pipeline.batch_jobs.places`."""
        return f"{job_id}/{self.digest}.{self.suffix}" if self.arrived else None

    def discard(self) -> None:
        """Remove the file unless it was handed in."""
        if self.arrived is not None:
            self.arrived.unlink(missing_ok=True)


class _Address(msgspec.Struct, forbid_unknown_fields=True):
    uri: str
    format: str | None = None


def idempotency_key(call: Call) -> str | None:
    """Return the key that makes repeating the request harmless, if there is one.

    Raises
    ------
    RequestError
        400 when it is none.
    """
    given = call.fields.get(b"idempotency-key")
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        raise RequestError(
            400,
            "The header Idempotency-Key is empty, too long, or holds more than visible ASCII.",
            "1 to 255 visible characters, such as a UUID.",
            "send such a key, or none.",
        )
    return given.decode()


async def take_in(settings: Settings, call: Call) -> Wanted:
    """Return what is to be scored, its body read to the end.

    Raises
    ------
    RequestError
        400, 403, 408, 413, 415 or 422: what is wrong with it.
    """
    media_type = call.media.name
    most = settings.service.upload_bytes
    body = _bounded(call, JSON_BYTES if media_type == "application/json" else most, settings.service.request_seconds)
    if media_type == "application/json":
        return _address(settings, b"".join([part async for part in body]))
    arrived = _Arrived(incoming(settings))
    try:
        form = FormReader(call, arrived.gather) if media_type == "multipart/form-data" else None
        suffix = None if form else _suffix(call)
        async for part in body:
            (form.feed if form else arrived.gather)(part)
            await arrived.relieve()
        suffix = form.end() if form else suffix
        digest = await arrived.close()
    except BaseException:
        arrived.discard()
        raise
    assert suffix is not None, "a form without a file is refused"
    return Wanted(arrived.path, digest, suffix)


def _address(settings: Settings, body: bytes) -> Wanted:
    try:
        asked = msgspec.json.decode(body, type=_Address)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        is_json = isinstance(error, msgspec.ValidationError)
        raise RequestError(
            422 if is_json else 400,
            f"The body is not as it should be: {str(error)[:80]}.",
            '{"uri": "…"}, and maybe "format".',
            "send that, or a file with its own media type.",
        ) from None
    if asked.format not in {None, *FORMATS}:
        raise RequestError(
            422,
            f"The format is {str(asked.format)[:80]!r}.",
            f"one of {', '.join(FORMATS)}, or none when the address ends in it.",
            "choose one of them.",
            field="format",
        )
    uri = check_uri(asked.uri, settings.service.file_sources)
    if asked.format is None and suffix_of(uri.partition("?")[0]) is None:
        raise RequestError(
            422,
            "The address does not say what the file is.",
            f"one that ends in .{', .'.join(FORMATS)} (each also with .gz), or a format.",
            'add "format".',
            field="format",
        )
    return Wanted(uri=uri, format=asked.format)


def _suffix(call: Call) -> str:
    """Return what a body's headers say it is, as csv or csv.gz."""
    form = MEDIA_TYPES.get(call.media.name)
    parameters = call.media.parameters
    encoding = call.fields.get(b"content-encoding", b"identity").decode("latin-1").lower()
    if form is None or encoding not in {"identity", "gzip"}:
        raise RequestError(
            415,
            f"The body is {(call.media.name or 'of no media type')[:80]}, encoded as {encoding[:20]}.",
            f"{', '.join(MEDIA_TYPES)}, plain or with Content-Encoding: gzip; a form with a file; or JSON with a uri.",
            "send it as one of these.",
        )
    charset = parameters.get("charset", "utf-8")
    if parameters.get("header", "present") != "present" or charset not in {"utf-8", "utf8", "us-ascii"}:
        raise RequestError(
            415,
            "The media type says something else of the file than that it has a header line and is in UTF-8.",
            "a header line that names the columns, and UTF-8.",
            "send the file so.",
        )
    return form + (".gz" if encoding == "gzip" else "")


async def _bounded(call: Call, most: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield the body's parts while they are not too many, and neither a part nor all of them are waited for too long.

    Only the waiting counts, not what is done with a part. `seconds` of it are given at first, and for each part the
    time that it may take; but never more than `seconds` are left.
    """
    length = call.fields.get(b"content-length", b"0")
    size = int(length) if length.isdigit() else 0
    if size > most:
        raise _too_large(most)
    size = 0
    parts, clock = aiter(call.stream()), asyncio.get_running_loop().time
    patience = seconds
    while True:
        began = clock()
        try:
            async with asyncio.timeout(patience):
                part = await anext(parts, None)
        except TimeoutError:
            raise _too_slow(seconds) from None
        if part is None:
            return
        size += len(part)
        if size > most:
            raise _too_large(most)
        patience = min(seconds, patience - (clock() - began) + len(part) / LEAST_BYTES_A_SECOND)
        yield part


def _too_slow(seconds: float) -> RequestError:
    return RequestError(
        408,
        f"The body stopped for {seconds:g} s, or came slower than {LEAST_BYTES_A_SECOND:,} bytes a second.",
        "to have it at that rate, without long pauses.",
        "send it again over a faster line, compressed, or in several files.",
    )


def _too_large(most: int) -> RequestError:
    return RequestError(413, "The body is too large.", f"at most {most:,} bytes.", "split the file.")


class _Arrived:
    """A file being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._digest = sha256()

    def gather(self, part: bytes) -> None:
        """Add a part without writing."""
        self._waiting.append(part)
        self._waiting_bytes += len(part)

    def discard(self) -> None:
        """Remove what has been written."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    async def relieve(self) -> None:
        """Write what has gathered, if it is much."""
        if self._waiting_bytes >= BLOCK_BYTES:
            await aside(self._write)

    async def close(self) -> str:
        """Write the rest; return the sha256 of all."""

        def end() -> str:
            self._write()
            self._file.close()
            return self._digest.hexdigest()

        return await aside(end)

    def _write(self) -> None:
        block = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        self._digest.update(block)
        try:
            self._file.write(block)
        except OSError as error:
            raise RequestError(
                503,
                f"The file cannot be stored: {error.strerror}.",
                "room for it.",
                "try again later.",
                headers={"retry-after": "60"},
            ) from None
