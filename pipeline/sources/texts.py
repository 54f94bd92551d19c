"""What every reader returns: a file's records as text (`Texts`), and what the readers refuse alike."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.errors import SourceError
from pipeline.settings import Source

RECORDS = "records"
"""The name that the batches have in SQL."""
LINE = "__line"
ABSENT = "CAST(NULL AS VARCHAR)"
"""The text of an optional column that a file does not have."""
RECORD_BYTES = 4 << 20
"""The longest record. A longer one is an unclosed quote or not text at all, and would not fit in memory."""
MOST_COLUMNS = 1000
"""Each column takes memory in every batch, declared or not."""


@dataclass
class Texts:
    """A source's records as text, to be streamed once, and the SQL that finds each value in them."""

    schema: pa.Schema
    """The column `__line` (int64) is the line of the file on which a record starts."""
    batches: Iterator[pa.RecordBatch]
    columns: dict[str, str]
    """Declared column → SQL expression of its text."""
    raw: str
    """SQL expression of the whole record as text."""
    structure: str = "NULL"
    """SQL expression of what is wrong with the record as a whole; NULL if nothing is."""
    relation: str = RECORDS
    """SQL relation over `RECORDS` that the expressions refer to."""
    typed: frozenset[str] = frozenset()
    """Declared columns whose type comes from the file or database. Formats of text do not apply to them."""
    exact: frozenset[str] = frozenset()
    """Those of them that come in their declared type instead of as text."""
    with_nul: frozenset[str] = frozenset()
    """Declared text columns that may hold NUL, because no database stores them."""
    undeclared: list[str] = field(default_factory=list)
    header: str | None = None
    """The header as it is in the file, if the format has one."""
    separators: tuple[str, str] = (".", "")
    """Of decimals and of thousands, in the texts of numbers."""
    lines: int = 0
    """Records yielded so far."""
    error: Exception | None = None
    """The error that stopped the batches. DuckDB would pass on only its text."""

    def reader(self) -> pa.RecordBatchReader:
        """Return the batches as one stream."""
        return pa.RecordBatchReader.from_batches(self.schema, self._watched())

    def _watched(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.batches:
                self.lines += batch.num_rows
                yield batch
        except Exception as error:
            self.error = error
            raise


def refuse_wide(context: str, columns: int) -> None:
    """Refuse a file with more than `MOST_COLUMNS` columns, with a SourceError."""
    if columns > MOST_COLUMNS:
        raise SourceError(
            f"{context} has {columns} columns.",
            f"at most {MOST_COLUMNS}.",
            "deliver only the columns that are used, or correct `delimiter` of the source.",
        )


def wrong_columns(found: str, source: Source, optional: frozenset[str], delimiter: str = "") -> SourceError:
    """Return the refusal of a file that does not have each declared column once."""
    return SourceError(
        f"{found}.",
        f"each of the declared columns once: {', '.join(name for name in source.columns if name not in optional)}.",
        f"deliver the file with these columns, or correct `columns`{delimiter} of the source.",
    )
