"""The landing zone's files, all open at once, so that each chunk of customers is simulated once and then dropped.

The entry point is `Files`.
"""

import gzip
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

_LINES_ONLY = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")


class Files:
    """Files in a folder, named relative to it, to which rows are appended until the block ends.

    The same calls give the same bytes: gzip headers contain neither time nor name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._texts: dict[str, IO[bytes] | gzip.GzipFile] = {}
        self._parquets: dict[str, pq.ParquetWriter] = {}
        self.rows: dict[str, int] = defaultdict(int)
        """Records by file, with broken lines and without the header."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close all files."""
        self._stack.close()

    def write_csv(self, name: str, table: pa.Table, broken: bytes = b"") -> None:
        """Append rows and broken lines to a CSV file, which begins with a header."""
        if name not in self._texts:
            self._text(name).write(",".join(table.column_names).encode() + b"\n")
        self._write(name, csv_lines(table), broken)

    def write_jsonl(self, name: str, table: pa.Table, broken: bytes = b"") -> None:
        """Append rows and broken lines to a JSON Lines file."""
        self._write(name, json_lines(table), broken)

    def write_parquet(self, name: str, table: pa.Table) -> None:
        """Append rows to a Parquet file."""
        if name not in self._parquets:
            writer = pq.ParquetWriter(self._path(name), table.schema, compression="zstd")
            self._parquets[name] = self._stack.enter_context(writer)
        self._parquets[name].write_table(table)
        self.rows[name] += len(table)

    def _write(self, name: str, lines: bytes, broken: bytes) -> None:
        self._text(name).write(lines + broken)
        self.rows[name] += lines.count(b"\n") + broken.count(b"\n")

    def _text(self, name: str) -> IO[bytes] | gzip.GzipFile:
        if name not in self._texts:
            file = self._stack.enter_context(self._path(name).open("wb"))
            self._texts[name] = file
            if name.endswith(".gz"):
                packed = gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0)
                self._texts[name] = self._stack.enter_context(packed)
        return self._texts[name]

    def _path(self, name: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def csv_lines(table: pa.Table) -> bytes:
    """Return the rows as CSV lines; no value may need quoting."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, _LINES_ONLY)
    return bytes(sink.getvalue())


def json_lines(table: pa.Table) -> bytes:
    """Return the rows as JSON Lines; no text may need escaping."""
    parts: list[pa.Array | str] = []
    for column in table.column_names:
        values = table[column].combine_chunks()
        text = values.cast(pa.string())
        if not pa.types.is_integer(values.type):
            text = pc.binary_join_element_wise('"', text, '"', "")
        parts += [f'{", " if parts else "{"}"{column}": ', pc.fill_null(text, "null")]
    lines = pc.binary_join_element_wise(*parts, "}\n", "")
    return "".join(lines.to_pylist()).encode()
