"""Which URIs a file may be read from: those below a prefix in `service.file_sources`.

The service checks a URI before it accepts a job. The DAG's first task checks it again, because a run can also be
started in Airflow's form. The entry point is `check_uri`.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.errors import RequestError

_LONGEST = 2_000
_STRANGE = re.compile(r"[\x00-\x1f\x7f\\#\ufffd]|%u[0-9a-fA-F]{4}")
"""Control characters, backslashes, fragments and invalid UTF-8: parsers disagree about what they mean."""
_LOCAL = {"file", "local"}
_ON_THE_WEB = {"http", "https"}
"""In other schemes a question mark is part of the path, and the place's name is case-sensitive."""


def check_uri(uri: str, prefixes: Sequence[str]) -> str:
    """Return the URI if it is below one of the prefixes, with its scheme in lower case, as fsspec expects it.

    Raises
    ------
    RequestError
        400 if it is not a plain URI, 403 if it is not below an allowed prefix.
    """
    parts = _split_plain(uri)
    for prefix in prefixes:
        if _is_below(parts, _split_plain(prefix)):
            return parts.scheme + uri[len(parts.scheme) :]
    raise RequestError(
        403,
        "Files may not be read from this URI.",
        f"a URI below a prefix that service.file_sources lists ({len(prefixes) or 'none'} configured).",
        "upload the file instead, or ask for its place to be added to service.file_sources.",
        field="uri",
    )


def _split_plain(uri: str) -> SplitResult:
    """Return the URI's parts; refuse a URI that two parsers could understand differently."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")  # without a scheme, so it is refused below
    path = unquote(parts.path)
    while (again := unquote(path)) != path:
        path = again
    is_odd = (
        not 1 <= len(uri) <= _LONGEST
        or _STRANGE.search(uri + path)
        or "::" in uri  # fsspec takes it for a chain of file systems
        or "@" in parts.netloc
        or ("?" in uri and parts.scheme not in _ON_THE_WEB)
        or not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme)
        or _has_dots(path)
        or not uri.lower().startswith(f"{parts.scheme}://")
    )
    if is_odd:
        raise RequestError(
            400,
            "This is not a plain URI.",
            "scheme://place/path, without user, fragment, `::`, `.` or `..`.",
            "send the file's own address.",
            field="uri",
        )
    return parts


def _has_dots(path: str) -> bool:
    """Return whether some server would read a segment of the decoded path as `.` or `..`.

    Some servers read `..;x=1` and `.. ` as `..`, and take other characters for dots and slashes.
    """
    segments = unicodedata.normalize("NFKC", path).split("/")
    return any(set(segment.partition(";")[0].strip()) == {"."} for segment in segments)


def _is_below(parts: SplitResult, prefix: SplitResult) -> bool:
    if (parts.scheme, _place(parts)) != (prefix.scheme, _place(prefix)):
        return False
    if parts.scheme in _LOCAL:
        # Links are followed on both sides, so that no link leads out of the prefix.
        return Path(parts.path).resolve().is_relative_to(Path(prefix.path).resolve())
    return parts.path.startswith(prefix.path if prefix.path.endswith("/") else prefix.path + "/")


def _place(parts: SplitResult) -> str:
    """Return the host in lower case, or the name of a bucket, which is case-sensitive."""
    return parts.netloc.lower() if parts.scheme in _ON_THE_WEB else parts.netloc
