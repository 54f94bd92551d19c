"""The records of a CSV file behind its header, each with the line it starts on; malformed ones as rejects.

Called by `pipeline.sources.delimited`. pyarrow splits the records. It is lenient about quotes, so a stray quote can
swallow the lines that follow it into one value. Two checks find that:

- A last record is added behind the end of the file. If it does not come out as a record, the file is refused.
- Every record that spans lines is parsed again, strictly. If it is malformed, each of its lines is a reject, so the
  error budget counts what was lost.

The entry point is `Records.batches`.
"""

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline.errors import SourceError
from pipeline.sources.stream import MARK
from pipeline.sources.texts import RECORD_BYTES

_END = MARK + "end"
_Lines = npt.NDArray[np.int64]
_Reject = tuple[int, str, str]
"""Line, text and problem of a malformed record."""

csv.field_size_limit(RECORD_BYTES)


@dataclass
class Records:
    """The records behind the header of one CSV file."""

    context: str
    """Names source and file in errors."""
    delimiter: str
    schema: pa.Schema
    """Of the batches: a text column for each column of the header, then the line, and a reject's text and problem."""
    width: int
    """How many columns the header has."""
    line: int
    """The line of the file on which the first of `unread` starts; at first the line behind the header."""
    unread: list[bytes] = field(default_factory=list)
    """The blocks that pyarrow was given and has not returned as records yet."""
    next_record: int = 1
    """Its number, as pyarrow counts records."""
    ragged: deque[pa_csv.InvalidRow] = field(default_factory=deque)
    """Records with too few or too many values that pyarrow has found and that were not yielded yet."""
    last_line: int = 1
    """The line on which the last record starts."""
    is_closed: bool = False
    """Whether the record behind the end of the file came out as a record."""

    def batches(self, blocks: Iterator[bytes]) -> Iterator[pa.RecordBatch]:
        """Yield the records in `blocks`, streaming; the rejects of a batch come after its good records."""
        line = self.line
        try:
            for batch in self._parsed(blocks):
                placed, line = self._placed(batch, line)
                if placed.num_rows:
                    yield placed
                self._forget_before(line)
        except pa.ArrowInvalid as error:
            raise self._unreadable(line, str(error)) from None
        if not self.is_closed:
            swallowed = [row.text.count("\n") + 1 for row in self.ragged]  # the last one by the quote
            raise self._unclosed(line + sum(swallowed[:-1]) if swallowed else self.last_line)

    def _parsed(self, blocks: Iterator[bytes]) -> Iterator[pa.RecordBatch]:
        names = self.schema.names[: self.width]
        end = "\n" + self.delimiter.join([_END] * self.width)
        stream = _BlockStream(chain(self._remembered(blocks), [end.encode()]))
        reader = pa_csv.open_csv(
            io.BufferedReader(stream, RECORD_BYTES),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=RECORD_BYTES, column_names=names),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,  # they count as lines
                invalid_row_handler=self._keep,
            ),
            convert_options=pa_csv.ConvertOptions(check_utf8=False, column_types=dict.fromkeys(names, pa.string())),
        )
        return cast("Iterator[pa.RecordBatch]", reader)

    def _remembered(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.unread.append(block)
            yield block

    def _keep(self, row: pa_csv.InvalidRow) -> str:
        self.ragged.append(row)
        return "skip"

    def _placed(self, batch: pa.RecordBatch, line: int) -> tuple[pa.RecordBatch, int]:
        """Return the records that start on `line` and after it, with their lines, and the line of the next record."""
        end = self.next_record + batch.num_rows
        ragged = []
        while self.ragged and self.ragged[0].number <= end:
            ragged.append(self.ragged.popleft())
            end += 1
        is_ragged = np.zeros(end - self.next_record, dtype=bool)
        is_ragged[np.array([row.number - self.next_record for row in ragged], dtype=np.int64)] = True
        breaks = np.zeros(end - self.next_record, dtype=np.int64)
        breaks[~is_ragged] = _line_breaks(batch)
        breaks[is_ragged] = [row.text.count("\n") for row in ragged]
        starts = line + np.cumsum(breaks + 1) - (breaks + 1)
        self.next_record = end
        self.last_line = int(starts[-1]) if starts.size else self.last_line
        good, malformed = self._good(batch, starts[~is_ragged], breaks[~is_ragged])
        rejects = self._rejects([*malformed, *self._ragged(ragged, starts[is_ragged])])
        placed = pa.concat_batches([good, rejects]) if rejects.num_rows else good
        return placed, line + int((breaks + 1).sum())

    def _good(self, batch: pa.RecordBatch, starts: _Lines, breaks: _Lines) -> tuple[pa.RecordBatch, list[_Reject]]:
        """Return the records that are well-formed, and those that are not."""
        nulls = pa.nulls(batch.num_rows, pa.string())
        placed = pa.RecordBatch.from_arrays([*batch.columns, pa.array(starts), nulls, nulls], schema=self.schema)
        if placed.num_rows and all(column[-1].as_py() == _END for column in batch.columns):
            self.is_closed = True
            placed, starts, breaks = placed.slice(0, placed.num_rows - 1), starts[:-1], breaks[:-1]
        malformed = self._malformed(starts[breaks > 0], breaks[breaks > 0])
        if malformed:
            placed = placed.filter(pa.array(~np.isin(starts, [start for start, *_ in malformed])))
        return _without_blank(placed, self.width), malformed

    def _malformed(self, starts: _Lines, breaks: _Lines) -> list[_Reject]:
        """Return the records that a strict parser refuses, of those that span lines."""
        lines = b"".join(self.unread).decode(errors="replace").split("\n") if starts.size else []
        malformed = []
        for start, count in zip((starts - self.line).tolist(), breaks.tolist(), strict=True):
            text = "\n".join(lines[start : start + count + 1])
            if not _is_strict(text, self.delimiter):
                malformed.append((start + self.line, text, "has a stray quote"))
        return malformed

    def _ragged(self, ragged: list[pa_csv.InvalidRow], starts: _Lines) -> Iterator[_Reject]:
        for row, start in zip(ragged, starts.tolist(), strict=True):
            if _END in row.text:
                raise self._unclosed(start)
            yield start, row.text, f"has {row.actual_columns} values, not {row.expected_columns}"

    def _rejects(self, records: list[_Reject]) -> pa.RecordBatch:
        """Return a reject for each line of these records that has any text."""
        split = [
            (start + index, text, problem)
            for start, record, problem in records
            for index, text in enumerate(line.removesuffix("\r") for line in record.split("\n"))
            if text
        ]
        lines, texts, problems = zip(*split, strict=True) if split else ((), (), ())
        values = [pa.array(lines, pa.int64()), pa.array(texts, pa.string()), pa.array(problems, pa.string())]
        nulls = [pa.nulls(len(split), pa.string())] * self.width
        return pa.RecordBatch.from_arrays([*nulls, *values], schema=self.schema)

    def _forget_before(self, line: int) -> None:
        """Drop the blocks that end before `line`."""
        while self.unread:
            breaks = np.frombuffer(self.unread[0], np.uint8) == ord("\n")  # four times as fast as bytes.count
            if (end := self.line + int(np.count_nonzero(breaks))) >= line:
                break
            self.line = end
            self.unread.pop(0)

    def _unclosed(self, line: int) -> SourceError:
        return SourceError(
            f"{self.context}: a quote in the record that starts on line {line} is never closed.",
            "quotes in pairs; a quote inside a quoted value is doubled.",
            "correct the line and run the week again.",
        )

    def _unreadable(self, line: int, problem: str) -> SourceError:
        if "straddling" in problem:
            problem = f"a record is longer than {RECORD_BYTES >> 20} MiB, or a quote is never closed"
        return SourceError(
            f"{self.context}: from line {line} on it cannot be read as CSV: {problem}.",
            "CSV as in RFC 4180.",
            "correct the file and run the week again.",
        )


def _line_breaks(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the number of line breaks in each record's values."""
    total = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        text = column.buffers()[2]
        if text is not None and (np.frombuffer(text, np.uint8) == ord("\n")).any():
            total += pc.count_substring(column, "\n").to_numpy()
    return total


def _is_strict(record: str, delimiter: str) -> bool:
    try:
        return len(list(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=True))) == 1
    except csv.Error:
        return False


def _without_blank(batch: pa.RecordBatch, width: int) -> pa.RecordBatch:
    """Return the batch without the records that have no text: blank lines, and lines of delimiters alone."""
    is_blank = pc.equal(batch.column(0), "")
    for index in range(1, width):
        if not pc.any(is_blank).as_py():
            return batch
        is_blank = pc.and_(is_blank, pc.equal(batch.column(index), ""))
    return batch.filter(pc.invert(is_blank))


class _BlockStream(io.RawIOBase):
    """The blocks as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(next((block for block in self._blocks if block), b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
