"""Reads the first rows of a feed as text, with the readers of a run. A part of `pipeline.onboarding.drafts`.

The entry point is `sample`.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.duck import quoted
from pipeline.errors import SourceError
from pipeline.onboarding.feeds import Feed
from pipeline.settings import Source
from pipeline.sources.formats import read_file
from pipeline.sources.landing import Fetched, Located, format_of
from pipeline.sources.parquet import read_parquet
from pipeline.sources.stream import MARK, blocks
from pipeline.sources.texts import LINE, RECORDS

SAMPLE_ROWS = 50_000
"""Of each file that is looked at: the first and the last file of a feed."""


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
    """Read the first rows of a feed into the table `rows`.

    Raises
    ------
    SourceError
        If a file is not of the format in its name, is not UTF-8, or has no header.
    """
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
