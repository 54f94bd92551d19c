"""A file from a web server: one plain request, its answer streamed to this machine and held to what it declared.

Stands behind `fetch`. fsspec would follow a server that sends the request on, take any answer for the file, and ask for
ranges, which many servers do not know. The entry point is `download_file`.
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import httpx

from pipeline.batch_jobs.file_source import NAME
from pipeline.errors import SourceError
from pipeline.settings import Settings
from pipeline.sources.landing import Fetched, Located

ANSWER_SECONDS = 60
CHUNK_BYTES = 1 << 20


@contextmanager
def download_file(settings: Settings, uri: str) -> Iterator[Fetched]:
    """Yield a copy of what the address answers; it is removed afterwards.

    Raises
    ------
    SourceError
        If the address does not answer with a file that says its size, is at most `service.upload_bytes` long, and is
        as long as it says.
    """
    from fsspec.implementations.local import LocalFileSystem

    copy = settings.home / "tmp" / f"fetched-{uuid4().hex}"
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        size_bytes, digest = _download(uri, copy, settings.service.upload_bytes)
        yield Fetched(Located(NAME, uri, LocalFileSystem(), str(copy)), copy, size_bytes, digest)
    finally:
        copy.unlink(missing_ok=True)


def _download(uri: str, copy: Path, most_bytes: int) -> tuple[int, str]:
    """Write what the address answers to `copy`; return its size and sha256."""
    try:
        with _client() as client, client.stream("GET", uri) as answer:
            declared_bytes = _declared_bytes(answer, most_bytes)
            with copy.open("wb") as target:
                # As it came: the size and the name are those of the file, not of what an encoding hides.
                return _stored(answer.iter_raw(CHUNK_BYTES), target, declared_bytes)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _refused(f"cannot be had whole: {str(error) or type(error).__name__}") from None
    except OSError as error:
        raise _refused(f"cannot be stored: {error.strerror}", "room for it", "hand it in again later") from None


def _client() -> httpx.Client:
    return httpx.Client(
        follow_redirects=False,  # to where nobody allowed
        trust_env=False,
        verify=ssl.create_default_context(),
        timeout=ANSWER_SECONDS,
        headers={"Accept-Encoding": "identity"},
    )


def _declared_bytes(answer: httpx.Response, most_bytes: int) -> int:
    """Return how long the file is, as the answer's head says; refuse an answer that is not the file."""
    if answer.has_redirect_location:
        raise _refused(
            f"is not where it was said to be: the server answers {answer.status_code} and sends the request on",
            do="give the address that the file itself has; a request is not followed to another",
        )
    if answer.status_code != httpx.codes.OK:
        raise _refused(f"cannot be had: the server answers {answer.status_code} {answer.reason_phrase}".rstrip())
    length = answer.headers.get("content-length", "")
    if not length.isdecimal():
        raise _refused(
            "does not say how large it is", "an answer with Content-Length", "upload the file, or have it served as one"
        )
    if int(length) > most_bytes:
        raise _refused(
            f"has {int(length):,} bytes", f"at most {most_bytes:,} bytes (service.upload_bytes)", "split the file"
        )
    return int(length)


def _stored(parts: Iterable[bytes], target: BinaryIO, declared_bytes: int) -> tuple[int, str]:
    size_bytes, digest = 0, sha256()
    for part in parts:
        size_bytes += len(part)
        if size_bytes > declared_bytes:
            break
        digest.update(part)
        target.write(part)
    if size_bytes != declared_bytes:
        raise _refused(f"has not the {declared_bytes:,} bytes that its server declared", do="hand it in again")
    return size_bytes, digest.hexdigest()


def _refused(
    what: str,
    expected: str = "a server that answers 200 with the whole file",
    do: str = "check the address and the access rights, or upload the file",
) -> SourceError:
    return SourceError(f"The file {what}.", f"{expected}.", f"{do}.")
