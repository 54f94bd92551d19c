"""Reads CSV as text: the header here, the records behind it in `pipeline.sources.records`."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from pipeline.duck import literal
from pipeline.errors import SourceError
from pipeline.settings import Source
from pipeline.sources.records import Records
from pipeline.sources.stream import MARK
from pipeline.sources.texts import ABSENT, LINE, RECORD_BYTES, Texts, refuse_wide, wrong_columns

_BAD = "__bad"
_PROBLEM = "__problem"
_SHOWN_CHARACTERS = 300
_LINE_END = re.compile(rb"\r\n|\n|\r")


def read_csv(context: str, source: Source, blocks: Iterator[bytes], optional: frozenset[str] = frozenset()) -> Texts:
    """Return the records of a CSV file with a header; lines without any text are skipped.

    A declared column may be absent if it is in `optional`.
    """
    header, rest = _header(context, blocks)
    names = _names(context, source, header.decode(), optional)
    refuse_wide(context, len(names))
    columns = [f"c{index}" for index in range(len(names))]
    schema = pa.schema(
        [(column, pa.string()) for column in columns]
        + [(LINE, pa.int64()), (_BAD, pa.string()), (_PROBLEM, pa.string())]
    )
    records = Records(context, source.delimiter, schema, len(names), 1 + len(_LINE_END.findall(header)))
    values = ", ".join(_requoted(column, source.delimiter) for column in columns)
    return Texts(
        schema=schema,
        batches=records.batches(chain([rest], blocks)),
        columns={name: columns[names.index(name)] if name in names else ABSENT for name in source.columns},
        raw=f"coalesce({_BAD}, concat_ws({literal(source.delimiter)}, {values}))",
        structure=_PROBLEM,
        undeclared=[name for name in names if name not in source.columns],
        header=header.decode(),
        separators=(source.decimal_separator, source.thousands_separator),
    )


def _header(context: str, blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """Return the header, and what was read beyond it, from its line end on."""
    read = b""
    end = None
    for block in blocks:
        read += block
        end = _record_end(read)
        if end is not None or len(read) > RECORD_BYTES:
            break
    if not read.strip():
        raise SourceError(
            f"{context} is empty.",
            "a header, even when nothing happened.",
            "deliver the file again and run the week again.",
        )
    return read[:end], b"" if end is None else read[end:]


def _record_end(data: bytes) -> int | None:
    """Return the length of the first record without its line end; None if its line end was not read yet."""
    quotes = start = 0
    for line_end in _LINE_END.finditer(data):
        quotes += data.count(b'"', start, line_end.start())
        start = line_end.end()
        if quotes % 2 == 0:
            return line_end.start()
    return None


def _names(context: str, source: Source, header: str, optional: frozenset[str]) -> list[str]:
    try:
        names = next(csv.reader(io.StringIO(header, newline=""), delimiter=source.delimiter), [])
    except csv.Error:  # a field that is longer than a record may be
        names = []
    missing = [name for name in source.columns if name not in names and name not in optional]
    twice = [name for name in source.columns if names.count(name) > 1]
    if missing or twice:
        problem = f"has no column {missing[0]!r}" if missing else f"has the column {twice[0]!r} twice"
        shown = header.replace(MARK, "").strip()[:_SHOWN_CHARACTERS]
        raise wrong_columns(f"{context} {problem}; its header is {shown!r}", source, optional, " or `delimiter`")
    return names


def _requoted(column: str, delimiter: str) -> str:
    """Return the SQL expression of a value as it is in the file: in quotes if it needs them."""
    special = " OR ".join(f"contains({column}, {literal(each)})" for each in (delimiter, '"', "\n", "\r"))
    return f"""CASE WHEN {special} THEN '"' || replace({column}, '"', '""') || '"' ELSE {column} END"""
