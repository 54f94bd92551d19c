"""Which URIs a file may be read from: those below a prefix of `service.file_sources`, and no trick around it.

The service asks before it accepts a job, and the DAG's first task once more, since a param can be given in Airflow's
form too. The one entry point is `check_uri`.
"""

import re
import unicodedata
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.errors import RequestError
from pipeline.settings import Settings

_LONGEST = 2_000
_STRANGE = re.compile(r"[\x00-\x1f\x7f\\#\ufffd]|%u[0-9a-fA-F]{4}")
"""Controls, backslashes, fragments and what is no UTF-8, which some parser takes for something else."""
_LOCAL = {"file", "local"}
_ON_THE_WEB = {"http", "https"}
"""Elsewhere a question mark is a part of the path, and a place's name as it is."""


def check_uri(settings: Settings, uri: str) -> str:
    """Return the URI if it may be read, its scheme in lower case, as fsspec knows it.

    Raises
    ------
    RequestError
        400 when it is no plain URI, 403 when it is not below an allowed prefix.
    """
    parts = _plain(uri)
    for prefix in settings.service.file_sources:
        if _is_below(parts, _plain(prefix)):
            return parts.scheme + uri[len(parts.scheme) :]
    raise RequestError(
        403,
        "The URI is not one that files may be read from.",
        "one below a prefix that service.file_sources lists"
        f" ({len(settings.service.file_sources) or 'none'} configured).",
        "upload the file instead, or have its place added to service.file_sources.",
        field="uri",
    )


def _plain(uri: str) -> SplitResult:
    """Return the URI's parts; refuse one that two readers could understand differently."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise _not_plain() from None
    path = unquote(parts.path)
    while (again := unquote(path)) != path:
        path = again
    is_odd = (
        not 1 <= len(uri) <= _LONGEST
        or _STRANGE.search(uri + path)
        or "::" in uri  # which fsspec takes for a chain of file systems
        or "@" in parts.netloc
        or ("?" in uri and parts.scheme not in _ON_THE_WEB)
        or not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme)
        or _has_dots(path)
        or not uri.lower().startswith(f"{parts.scheme}://")
    )
    if is_odd:
        raise _not_plain()
    return parts


def _has_dots(path: str) -> bool:
    """Return whether a segment of the decoded path is of nothing but dots, for whatever reads it.

    Some servers see none but the dots in `..;x=1` and `.. `, and take other characters for dots and slashes.
    """
    segments = unicodedata.normalize("NFKC", path).split("/")
    return any(set(segment.partition(";")[0].strip()) == {"."} for segment in segments)


def _is_below(parts: SplitResult, prefix: SplitResult) -> bool:
    if (parts.scheme, _place(parts)) != (prefix.scheme, _place(prefix)):
        return False
    if parts.scheme in _LOCAL:
        # Links are followed on both sides, so that none leads out.
        return Path(parts.path).resolve().is_relative_to(Path(prefix.path).resolve())
    return parts.path.startswith(prefix.path if prefix.path.endswith("/") else prefix.path + "/")


def _place(parts: SplitResult) -> str:
    """Return the host, which is the same in any case; elsewhere, as in the name of a bucket, case matters."""
    return parts.netloc.lower() if parts.scheme in _ON_THE_WEB else parts.netloc


def _not_plain() -> RequestError:
    return RequestError(
        400,
        "That is no plain URI.",
        "scheme://place/path, without user, fragment, `::`, `.` or `..`.",
        "send the file's own address.",
        field="uri",
    )
