"""Finds the feeds in a folder: the files that belong together by their names. A part of `pipeline.onboarding.drafts`.

If names differ only in a date that is always a Monday, there is a file for each week. If they differ in other digits,
the files are parts of one source. The entry point is `find_feeds`.
"""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".jsonl", ".ndjson", ".parquet")
NOT_SAID = (".txt", ".dat")
"""Endings that do not say the format. Such a file is read as CSV."""
MOST_LOOKBACK_WEEKS = 8
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Feed:
    """The files of one source."""

    name: str
    path: str
    """The source's `path`."""
    files: list[Path]
    """In the order of their names, so oldest first."""
    lookback_weeks: int | None
    format: str | None


def find_feeds(folder: Path) -> tuple[list[Feed], list[Path]]:
    """Return the feeds in a folder and its subfolders, and the files that belong to no feed."""
    groups = defaultdict(list)
    others = []
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        path = file.relative_to(folder)
        if any(part.startswith(".") for part in path.parts):
            continue
        if file.name.lower().removesuffix(".gz").endswith(SUFFIXES):
            groups[_DIGITS.sub("#", str(path))].append(file)
        else:
            others.append(file)
    feeds: list[Feed] = []
    for files in groups.values():
        feeds.append(_feed(folder, files, {feed.name for feed in feeds}))
    return feeds, others


def _feed(folder: Path, files: list[Path], taken: set[str]) -> Feed:
    paths = [str(file.relative_to(folder)) for file in files]
    path, lookback_weeks = paths[0], None
    if all(_is_week(each) for each in paths) and len({_DAY.sub("", each) for each in paths}) == 1:
        path, lookback_weeks = _DAY.sub("{week}", path), min(len(files), MOST_LOOKBACK_WEEKS)
    elif len(files) > 1:
        path = re.sub(r"\d+(-\d+)*", "[0-9]*", path)
    bare = files[0].name.lower().removesuffix(".gz")
    kind = "csv" if bare.endswith(NOT_SAID) else None
    return Feed(_name(path, taken), path, files, lookback_weeks, kind)


def plain_name(text: str) -> str:
    """Return a name in lower-case letters, digits and underscores."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def _is_week(path: str) -> bool:
    days = _DAY.findall(path)
    try:
        return bool(days) and all(day == days[0] and date.fromisoformat(day).weekday() == 0 for day in days)
    except ValueError:
        return False


def _name(path: str, taken: set[str]) -> str:
    """Return the source's name: the file's, in plain letters, without the part that changes."""
    stem = Path(path.replace("{week}", "").replace("[0-9]*", "")).name.split(".")[0]
    name = plain_name(stem) or "source"
    name = name if name[0].isalpha() else f"source_{name}"
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in numbered if each not in taken)
