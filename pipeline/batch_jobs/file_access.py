"""The file on this machine: the one that was handed in, or a copy of the one at its address.

fsspec is not used for a file from a web server: it would follow redirects, take any response for the file, and ask for
ranges, which many servers do not support. Used by `file_rows`. The entry point is `fetch_file`.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx

from pipeline.batch_jobs.file_source import NAME
from pipeline.batch_jobs.job_handoffs import FilePlan
from pipeline.errors import ConservationError, SourceError
from pipeline.files import sha256_of_file
from pipeline.settings import Settings
from pipeline.sources.landing import Fetched, Located, fetched

ANSWER_SECONDS = 60
CHUNK_BYTES = 1 << 20


@contextmanager
def fetch_file(settings: Settings, plan: FilePlan) -> Iterator[Fetched]:
    """Yield the file with its digest; remove a copy afterwards.

    Raises
    ------
    SourceError
        If it cannot be reached, is larger than `service.upload_bytes`, has no known size, or changes before the block
        ends.
    ConservationError
        If it is not the file that was handed in.
    """
    most_bytes = settings.service.upload_bytes
    if plan.uri.startswith(("http://", "https://")):
        opened = download_file(plan.uri, settings.home / "tmp", most_bytes)
    else:
        opened = fetched(settings, _locate(plan, most_bytes))
    with opened as file:
        if plan.digest not in {None, file.digest}:
            raise ConservationError(
                f"The file is not the one that was handed in: its sha256 is {file.digest[:12]}….",
                f"sha256 {(plan.digest or '')[:12]}….",
                "hand the file in again.",
            )
        yield file


def _locate(plan: FilePlan, most_bytes: int) -> Located:
    """Return where the file is; refuse one that is absent or too large."""
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(plan.uri)
        size = filesystem.info(path).get("size")
    except (OSError, ValueError, ImportError) as error:
        said = getattr(error, "strerror", None) or str(error).replace(plan.uri, "it")
        raise _refusal(f"cannot be reached: {said}", "a file that exists and may be read") from None
    _check_size(size, most_bytes)
    return Located(NAME, plan.uri, filesystem, path)


def _check_size(size_bytes: int | None, most_bytes: int) -> None:
    if size_bytes is None:
        raise _refusal("has no known size", "a server that states it", "upload the file, or serve it with its length")
    if size_bytes > most_bytes:
        raise _refusal(
            f"has {size_bytes:,} bytes", f"at most {most_bytes:,} bytes (service.upload_bytes)", "split the file"
        )


@contextmanager
def download_file(uri: str, folder: Path, most_bytes: int) -> Iterator[Fetched]:
    """Yield a copy of the file, made in `folder`; remove it afterwards."""
    from fsspec.implementations.local import LocalFileSystem

    copy = folder / f"fetched-{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        size_bytes, digest = _download(uri, copy, most_bytes)
        yield Fetched(Located(NAME, uri, LocalFileSystem(), str(copy)), copy, size_bytes, digest)
    finally:
        copy.unlink(missing_ok=True)


def _download(uri: str, copy: Path, most_bytes: int) -> tuple[int, str]:
    """Write the file to `copy`; return its size and sha256."""
    client = httpx.Client(
        follow_redirects=False,  # a redirect could lead to an address that is not allowed
        trust_env=False,
        verify=ssl.create_default_context(),
        timeout=ANSWER_SECONDS,
        headers={"Accept-Encoding": "identity"},
    )
    try:
        with client, client.stream("GET", uri) as answer, copy.open("wb") as target:
            declared_bytes = _declared_bytes(answer, most_bytes)
            # Raw bytes: the declared size and the file's name describe them, whatever encoding the server adds.
            for part in answer.iter_raw(CHUNK_BYTES):
                target.write(part)
                if target.tell() > declared_bytes:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _refusal(f"could not be downloaded: {str(error) or type(error).__name__}") from None
    except OSError as error:
        raise _refusal(f"cannot be stored: {error.strerror}", "enough disk space", "hand it in again later") from None
    if copy.stat().st_size != declared_bytes:
        raise _refusal(f"does not have the {declared_bytes:,} bytes that its server declared", do="hand it in again")
    return declared_bytes, sha256_of_file(copy)


def _declared_bytes(answer: httpx.Response, most_bytes: int) -> int:
    """Return the size that the response declares; refuse a response that is not the file."""
    if answer.has_redirect_location:
        raise _refusal(
            f"is at another address: the server answers {answer.status_code} with a redirect, which is not followed",
            do="give the file's own address",
        )
    if answer.status_code != httpx.codes.OK:
        raise _refusal(
            f"could not be downloaded: the server answers {answer.status_code} {answer.reason_phrase}".rstrip()
        )
    length = answer.headers.get("content-length", "")
    _check_size(int(length) if length.isdecimal() else None, most_bytes)
    return int(length)


def _refusal(
    what: str,
    expected: str = "a server that answers 200 with the whole file",
    do: str = "check the address and the access rights, or upload the file",
) -> SourceError:
    return SourceError(f"The file {what}.", f"{expected}.", f"{do}.")
