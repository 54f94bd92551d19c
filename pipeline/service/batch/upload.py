"""A file on its way in: streamed to disk, never whole in memory; or the address of a file to read.

A file comes as the body itself, and the media type says what it is; or as the one file of a form
(multipart/form-data), and its name says so. Entry points: `take_in`, `idempotency_key`.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from pipeline.batch_jobs.allowed_uris import check_uri
from pipeline.batch_jobs.places import FORMATS, incoming, suffix_of
from pipeline.errors import RequestError
from pipeline.orchestration.file_jobs import Submission
from pipeline.service.calls import CSV, JSON_LINES_NAMES, PARQUET, Call
from pipeline.service.instances.bodies import UTF_8, decode
from pipeline.service.thread_pools import files as file_threads
from pipeline.settings import Settings

MEDIA_TYPES = {
    **dict.fromkeys((CSV, "application/csv"), "csv"),
    **dict.fromkeys(JSON_LINES_NAMES, "jsonl"),
    **dict.fromkeys((PARQUET, "application/x-parquet"), "parquet"),
}
"""Media types of files, and the formats they mean."""
BLOCK_BYTES = 1 << 20
"""Bytes gathered in memory before they are written."""
JSON_BYTES = 65_536
MOST_FIELDS, FIELD_BYTES = 100, 65_536
"""Bounds on what a form may hold beside its file; Starlette keeps it in memory."""
LEAST_BYTES_A_SECOND = 50_000
"""The slowest upload that is waited for. A poor line is as fast: the largest file of 2 GB has 11 hours."""


def idempotency_key(call: Call) -> str | None:
    """Return the header Idempotency-Key, if there is one; raise 400 if it is malformed."""
    given = call.fields.get(b"idempotency-key")
    if given is not None and not re.fullmatch(rb"[\x21-\x7e]{1,255}", given):
        found = "The header Idempotency-Key is empty, too long, or holds more than visible ASCII."
        raise RequestError(400, found, "1 to 255 visible characters, such as a UUID.", "send such a key, or none.")
    return None if given is None else given.decode()


async def take_in(settings: Settings, call: Call) -> Submission:
    """Return what is to be scored, after reading the body to its end; raise 503 if it cannot be stored."""
    seconds = settings.service.request_seconds
    if call.media.name == "application/json":
        return _address(settings, b"".join([part async for part in _bounded(call, JSON_BYTES, seconds)]))
    body = _bounded(call, settings.service.upload_bytes, seconds)
    is_form = call.media.name == "multipart/form-data"
    suffix = "" if is_form else _suffix_of_body(call)
    arriving = ArrivingFile(incoming(settings))
    try:
        if is_form:
            suffix = await _take_from_form(call, body, arriving)
        else:
            async for part in body:
                await arriving.add(part)
        return Submission(arriving.path, await arriving.finish(), suffix)
    except BaseException as error:
        arriving.discard()
        if not isinstance(error, OSError):
            raise
        found, retry = f"The file cannot be stored: {error.strerror}.", {"retry-after": "60"}
        raise RequestError(503, found, "room for it.", "try again later.", headers=retry) from None


class Address(msgspec.Struct, forbid_unknown_fields=True):
    """Where a file is read from. Its format is needed if the address does not end in it."""

    uri: Annotated[str, Meta(examples=["s3://bucket/rows.parquet"])]
    format: Literal["csv", "jsonl", "parquet"] | None = None


def _address(settings: Settings, body: bytes) -> Submission:
    asked: Address = decode(body, Address)
    uri = check_uri(asked.uri, settings.service.file_sources)
    if asked.format is None and suffix_of(uri.partition("?")[0]) is None:
        found = "The address does not say what the file is."
        expected = f"one that ends in .{', .'.join(FORMATS)} (each also with .gz), or a format."
        raise RequestError(422, found, expected, 'add "format".', field="format")
    return Submission(uri=uri, format=asked.format)


async def _bounded(call: Call, most_bytes: int, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield the body's parts while they are not too many and do not take too long to arrive.

    Only the waiting counts, not what is done with a part. It may take `seconds` at first; each part adds the time that
    its bytes may take, up to `seconds` again.
    """
    length = call.fields.get(b"content-length", b"0")
    too_large = RequestError(413, "The body is too large.", f"at most {most_bytes:,} bytes.", "split the file.")
    if length.isdigit() and int(length) > most_bytes:
        raise too_large
    parts, clock = aiter(call.stream()), asyncio.get_running_loop().time
    patience, size = seconds, 0
    while True:
        began = clock()
        try:
            async with asyncio.timeout(patience):
                part = await anext(parts, None)
        except TimeoutError:
            found = f"The body stopped for {seconds:g} s, or came slower than {LEAST_BYTES_A_SECOND:,} bytes a second."
            do = "send it again over a faster line, compressed, or in several files."
            raise RequestError(408, found, "to have it at that rate, without long pauses.", do) from None
        if part is None:
            return
        size += len(part)
        if size > most_bytes:
            raise too_large
        patience = min(seconds, patience - (clock() - began) + len(part) / LEAST_BYTES_A_SECOND)
        yield part


def _suffix_of_body(call: Call) -> str:
    """Return the format that the headers name, as csv or csv.gz."""
    form = MEDIA_TYPES.get(call.media.name)
    encoding = call.fields.get(b"content-encoding", b"identity").decode("latin-1").lower()
    if form is None or encoding not in {"identity", "gzip"}:
        found = f"The body is {(call.media.name or 'of no media type')[:80]}, encoded as {encoding[:20]}."
        others = "plain or with Content-Encoding: gzip; a form with a file; or JSON with a uri."
        raise RequestError(415, found, f"{', '.join(MEDIA_TYPES)}, {others}", "send it as one of these.")
    parameters = call.media.parameters
    if parameters.get("header", "present") != "present" or parameters.get("charset", "utf-8") not in UTF_8:
        found = "The media type says that the file has no header line, or is not in UTF-8."
        raise RequestError(415, found, "a header line that names the columns, and UTF-8.", "send the file so.")
    return form + (".gz" if encoding == "gzip" else "")


class _FormReader(MultiPartParser):
    """Starlette's parser, which also refuses a form that ends too early. It then closes its temporary files."""

    _is_whole = False

    def __init__(self, headers: Headers, body: AsyncGenerator[bytes, None]) -> None:
        bounds = {"max_files": 1, "max_fields": MOST_FIELDS, "max_part_size": FIELD_BYTES}
        super().__init__(headers, self._checked(body), **bounds)

    def on_end(self) -> None:
        self._is_whole = True

    async def _checked(self, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for part in body:
            yield part
        if not self._is_whole:
            raise MultiPartException("It ends too early")


async def _take_from_form(call: Call, body: AsyncGenerator[bytes, None], arriving: "ArrivingFile") -> str:
    """Add the form's one file to `arriving`; return its format, as csv or csv.gz.

    Starlette spools it to an unnamed temporary file first.
    """
    if not call.media.parameters.get("boundary"):
        raise _unreadable("It names no boundary")
    try:
        form = await _FormReader(call.headers, body).parse()
    except (MultiPartException, ValueError) as error:  # a ValueError of some charsets
        raise _unreadable(str(error).removesuffix(".")) from None
    try:
        file = next((value for _, value in form.multi_items() if isinstance(value, UploadFile)), None)
        if file is None:
            raise _unreadable("There is no file in it")
        media_type = (file.content_type or "").partition(";")[0].strip().lower()
        suffix = suffix_of(file.filename or "") or MEDIA_TYPES.get(media_type)
        if suffix is None:
            found = "Neither the file's name nor its media type says what it is."
            names = f"a name in .{', .'.join(FORMATS)} (each also with .gz)"
            raise RequestError(415, found, f"{names}, or one of {', '.join(MEDIA_TYPES)}.", "name the file so.")
        while block := await file.read(BLOCK_BYTES):
            await arriving.add(block)
        return suffix
    finally:
        await form.close()


def _unreadable(reason: str) -> RequestError:
    found = f"The form cannot be read. {reason}."
    return RequestError(400, found, "multipart/form-data with one file.", "send it as curl -F file=@rows.csv does.")


class ArrivingFile:
    """A file that is written and digested as it comes, in threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb", BLOCK_BYTES)
        self._digest = sha256()

    async def add(self, part: bytes) -> None:
        """Add a part."""
        await file_threads(self._write, part)

    async def finish(self) -> str:
        """Close the file; return the sha256 of all."""
        await file_threads(self._file.close)
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # on a full disk, closing fails too
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, part: bytes) -> None:
        self._digest.update(part)
        self._file.write(part)
