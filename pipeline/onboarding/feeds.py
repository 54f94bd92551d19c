"""Finds the feeds in a folder, and reads the first rows of each as text. A part of `pipeline.onboarding.drafts`.

Files belong together by their names. If names differ only in a date that is always a Monday, there is a file for each
week. If they differ in other digits, the files are parts of one source. The entry points are `find_feeds` and `sample`.
"""

import csv
import io
import json
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.duck import quoted
from pipeline.errors import SourceError
from pipeline.settings import Source
from pipeline.sources.formats import read_file
from pipeline.sources.landing import Fetched, Located, format_of
from pipeline.sources.parquet import read_parquet
from pipeline.sources.stream import MARK, blocks
from pipeline.sources.texts import LINE, RECORDS

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".jsonl", ".ndjson", ".parquet")
NOT_SAID = (".txt", ".dat")
"""Endings that do not say the format. Such a file is read as CSV."""
MOST_LOOKBACK_WEEKS = 8
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGITS = re.compile(r"\d+")
SAMPLE_ROWS = 50_000
"""Of each file that is looked at: the first and the last file of a feed."""


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


@dataclass(frozen=True)
class Sample:
    """A feed's rows as text, in the DuckDB table `rows`."""

    source: Source
    """The source as it was read, with every column as text."""
    columns: list[str]
    rows: int
    left_out: list[str]
    """Columns that cannot be declared."""


def sample(con: duckdb.DuckDBPyConnection, feed: Feed) -> Sample:
    """Read the first rows of a feed into the table `rows`."""
    given: dict[str, Any] = {"path": feed.path, "lookback_weeks": feed.lookback_weeks, "format": feed.format}
    con.execute("DROP TABLE IF EXISTS rows")
    newest = feed.files[-1]
    kind = format_of(feed.name, Source(columns={}, **given), str(newest))
    if kind == "csv":
        given["delimiter"], names = _header(con, feed.name, newest)
    elif kind == "jsonl":
        names = _keys(newest)
    else:
        names = _fields(newest)
    columns = [name for name in names if _is_declarable(name, names)]
    if not columns:
        raise SourceError(
            f"Source {feed.name}: {newest} has no column that can be declared.",
            "named columns with one value in a cell.",
            "look at the file.",
        )
    source = Source.model_validate({"columns": dict.fromkeys(columns, "text"), **given})
    rows = _fill(con, feed, source)
    return Sample(source, columns, rows, [name for name in dict.fromkeys(names) if name not in columns])


def _header(con: duckdb.DuckDBPyConnection, name: str, file: Path) -> tuple[str, list[str]]:
    """Return a CSV file's delimiter, as DuckDB sniffs it, and its columns."""
    context = f"Source {name}: {file}"
    text = next(blocks(context, file, gzipped=_is_gzip(file)), b"").decode(errors="replace")
    # ignore_errors, since one line with a value too few would make DuckDB take the file for a single column.
    sniffed = "SELECT delimiter FROM sniff_csv(?, all_varchar = true, ignore_errors = true)"
    try:
        delimiter = con.execute(sniffed, [str(file)]).fetchall()[0][0]
    except duckdb.Error:  # for example a line of several MB, which the reader refuses in better words
        delimiter = Source.model_fields["delimiter"].default
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    if MARK in text or any(cell.replace(".", "").replace(",", "").isdigit() for cell in names):
        problem = "is not in UTF-8" if MARK in text else f"has no header, but begins with {', '.join(names)[:100]}"
        raise SourceError(
            f"{context} {problem}.",
            "a CSV file in UTF-8 whose first line names the columns.",
            "convert it (iconv -f latin1 -t utf-8) or write a header.",
        )
    return delimiter, names


def _keys(file: Path) -> list[str]:
    """Return the keys of a JSON Lines file whose values are not nested."""
    stream = blocks(str(file), file, gzipped=_is_gzip(file))
    keys: dict[str, bool] = {}
    for line in next(stream, b"").split(b"\n")[:-1] or [b""]:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        for key, value in record.items() if isinstance(record, dict) else ():
            keys[key] = keys.get(key, True) and not isinstance(value, dict | list)
    return [key if is_flat else "" for key, is_flat in keys.items()]


def _fields(file: Path) -> list[str]:
    """Return the columns of a Parquet file that are not nested."""
    texts = read_parquet(str(file), Source(path="*", columns={}), file, gzipped=_is_gzip(file))
    kinds = (field.type for field in texts.schema)
    return ["" if pa.types.is_nested(kind) else name for name, kind in zip(texts.undeclared, kinds, strict=False)]


def _is_declarable(name: str, names: list[str]) -> bool:
    return bool(name) and not name.startswith("__") and [each.lower() for each in names].count(name.lower()) == 1


def _fill(con: duckdb.DuckDBPyConnection, feed: Feed, source: Source) -> int:
    for number, file in enumerate(dict.fromkeys([feed.files[-1], feed.files[0]])):
        located = Located(feed.name, str(file), None, str(file))
        texts = read_file(source, Fetched(located, file, file.stat().st_size, ""))
        cells = ", ".join(f"{text} AS {quoted(name)}" for name, text in texts.columns.items())
        query = f"SELECT {cells}, {LINE} FROM {texts.relation} WHERE ({texts.structure}) IS NULL LIMIT {SAMPLE_ROWS}"
        con.register(RECORDS, texts.reader())
        try:
            con.execute(f"INSERT INTO rows {query}" if number else f"CREATE TABLE rows AS {query}")
        except duckdb.Error:
            if texts.error:
                raise texts.error from None
            raise
    return int(con.execute("SELECT count(*) FROM rows").fetchall()[0][0])


def _is_gzip(file: Path) -> bool:
    return file.name.lower().endswith(".gz")
