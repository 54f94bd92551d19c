"""The landing zone: which files a source has for a week, and each of them on this machine with its digest.

The first step of the data's way; `pipeline.sources.formats` reads the files found here. Local files are read in place.
A file behind any other fsspec URI is first copied to the home, so that the digest and the rows come from the same
bytes. A file that changes while it is read is refused. The entry points are `locate` and `fetched`.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.errors import SourceError
from pipeline.files import sha256_of_file
from pipeline.settings import Settings, Source
from pipeline.weeks import Week

CHUNK_BYTES = 4 << 20
_STAMPS = ("mtime", "LastModified", "last_modified", "updated", "created", "ETag")


@dataclass(frozen=True)
class Located:
    """A file of a source that was found and not read yet."""

    source: str
    uri: str
    filesystem: Any
    """The fsspec filesystem that holds it."""
    path: str
    """Its path in that filesystem."""
    week: Week | None = None
    """The week in the file's name; None if the source's path has no `{week}`."""


@dataclass(frozen=True)
class Fetched:
    """A file of a source, on this machine."""

    located: Located
    path: Path
    size_bytes: int
    digest: str
    """sha256 of its bytes in the landing zone."""


def locate(settings: Settings, name: str, week: Week) -> list[Located]:
    """Return the files of source `name` for `week`, oldest week first, then by name."""
    source = settings.sources[name]
    weeks = [week.plus(-back) for back in range(source.lookback_weeks or 1)]
    paths = {each: (source.path or "").replace("{week}", str(each)) for each in weeks}
    found = {each: _files(settings, name, path) for each, path in paths.items()}  # a refusal names the newest file
    if not found[week]:
        where = paths[week] if "://" in paths[week] else f"{paths[week]} in the landing zone {settings.landing}"
        raise SourceError(
            f"Source {name}: there is no file {where} for the week {week}.",
            "the file, whole, before the week is run.",
            "deliver the file and run the week again, or correct `path` of the source.",
        )
    oldest = min(each for each in weeks if found[each])
    if missing := [each for each in weeks if each > oldest and not found[each]]:
        first = missing[-1]
        raise SourceError(
            f"Source {name}: {paths[first]} of the week {first} is missing, though {oldest} before it is there.",
            "every week's file from the oldest one on.",
            "deliver the missing file (a header alone says that nothing happened) and run the week again.",
        )
    named = [replace(file, week=each) for each in reversed(weeks) for file in found[each]]
    return named if source.lookback_weeks is not None else found[week]


def _files(settings: Settings, name: str, path: str) -> list[Located]:
    from fsspec.core import url_to_fs

    if "://" not in path:
        return _landed_files(settings, name, path)
    try:
        filesystem, root = url_to_fs(path)
        paths = sorted(filesystem.glob(root)) if _has_wildcard(root) else [root]
        return [
            Located(name, filesystem.unstrip_protocol(each), filesystem, each)
            for each in paths
            if filesystem.isfile(each)
        ]
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(
            f"Source {name}: {path} cannot be reached: {error}.",
            "a URI that fsspec can open.",
            "check the address and the access rights, or install the fsspec package that the message names.",
        ) from None


def _landed_files(settings: Settings, name: str, path: str) -> list[Located]:
    from fsspec.implementations.local import LocalFileSystem

    landing = settings.landing
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise SourceError(
            f"Source {name}: the path {path!r} leads out of the landing zone {landing}.",
            "a path relative to the landing zone, without `..`.",
            "put the file into the landing zone, or name it by a URI (file:///…).",
        )
    try:
        paths = sorted(landing.glob(path)) if _has_wildcard(path) else [landing / path]
        files = [each for each in paths if each.is_file()]
        strays = [each for each in files if not each.resolve().is_relative_to(landing.resolve())]
    except OSError as error:
        raise SourceError(
            f"Source {name}: {path} in the landing zone {landing} cannot be looked up: {error.strerror}.",
            "a folder that the pipeline's user may read.",
            "check the folder's permissions and run the week again.",
        ) from None
    if strays:
        raise SourceError(
            f"Source {name}: {strays[0]} is a link that leads out of the landing zone {landing}.",
            "files in the landing zone itself.",
            "put the file itself into the landing zone, or name it by a URI (file:///…).",
        )
    return [Located(name, str(each), LocalFileSystem(), str(each)) for each in files]


def _has_wildcard(path: str) -> bool:
    return any(character in path for character in "*?[")


@contextmanager
def fetched(settings: Settings, located: Located) -> Iterator[Fetched]:
    """Yield the file on this machine, with its digest. A copy is removed afterwards."""
    before = _facts(located)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(_on_this_machine(settings, located))
            digest = _digest_of_local(path, *before) if _is_local(located) else sha256_of_file(path)
        except OSError as error:
            raise _unreadable(located, error) from None
        yield Fetched(located, path, before[0], digest)
    if _facts(located) != before:
        raise SourceError(
            f"Source {located.source}: {located.uri} changed while it was read; it is still being written.",
            "a file that is whole before the week is run.",
            "wait until it is delivered (write it under another name, then rename it) and run the week again.",
        )


def is_gzip(source: Source, uri: str) -> bool:
    """Return whether the file's name says that it is compressed with gzip."""
    return source.path is not None and _name(uri).endswith(".gz")


def format_of(name: str, source: Source, uri: str) -> str:
    """Return the format that is declared for the source, else the one that the file's name says."""
    suffix = Path(_name(uri).removesuffix(".gz")).suffix
    formats = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
    if source.format is None and suffix not in formats:
        raise SourceError(
            f"Source {name}: the name {uri} does not say its format.",
            "a name that ends in .csv, .jsonl or .parquet (each also with .gz).",
            "rename the file, or set `format` of the source.",
        )
    return source.format or formats[suffix]


def _name(uri: str) -> str:
    return uri.split("?", maxsplit=1)[0].lower() if "://" in uri else uri.lower()


def _is_local(located: Located) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(located.filesystem, LocalFileSystem)


def _facts(located: Located) -> tuple[int, str]:
    """Return the file's size, and a stamp that changes with the file, if its filesystem has one."""
    try:
        if _is_local(located):
            status = Path(located.path).stat()
            return status.st_size, str(status.st_mtime_ns)
        located.filesystem.invalidate_cache()
        info = located.filesystem.info(located.path)
    except OSError as error:
        raise _unreadable(located, error) from None
    return int(info.get("size") or 0), next((str(info[key]) for key in _STAMPS if info.get(key)), "")


@contextmanager
def _on_this_machine(settings: Settings, located: Located) -> Iterator[Path]:
    if _is_local(located):
        yield Path(located.path)
        return
    copy = settings.home / "tmp" / f"fetched-{uuid4().hex}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with copy.open("wb") as target, located.filesystem.open(located.path, "rb") as file:
            shutil.copyfileobj(file, target, CHUNK_BYTES)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


@cache
def _digest_of_local(path: Path, _size_bytes: int, _stamp: str) -> str:
    """Return the digest, computed once for each state of the file; a training reads the same files for many weeks."""
    return sha256_of_file(path)


def _unreadable(located: Located, error: OSError) -> SourceError:
    return SourceError(
        f"Source {located.source}: {located.uri} cannot be read: {error.strerror or error}.",
        "a file that the pipeline's user may read.",
        "check the file's permissions and the connection, then run the week again.",
    )
