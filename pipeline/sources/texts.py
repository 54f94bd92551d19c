"""What every reader yields: batches of text, and the SQL that says what is where in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.errors import SourceError

RECORDS = "records"
"""The name under which the batches stand in SQL."""
LINE = "__line"
ABSENT = "CAST(NULL AS VARCHAR)"
"""The text of a column that a file may lack and does."""
RECORD_BYTES = 4 << 20
"""The longest record; what is longer is an unclosed quote or no text at all, and would not fit in memory."""


MOST_COLUMNS = 1000
"""Each takes memory for every batch, whether it is declared or not."""


def refuse_wide(context: str, columns: int) -> None:
    """Refuse a file with more columns than `MOST_COLUMNS`.

    Raises
    ------
    SourceError
        If it has more.
    """
    if columns > MOST_COLUMNS:
        raise SourceError(
            f"{context} has {columns} columns.",
            f"at most {MOST_COLUMNS}.",
            "deliver the columns that are used, or correct `delimiter` of the source.",
        )


@dataclass
class Texts:
    """A source's records as text, streamed once.

    Parameters
    ----------
    schema, batches
        The records; among the columns is `__line` (int64), the line of the file a record starts on.
    columns
        Declared column → SQL expression of its text.
    raw
        SQL expression of the whole record as text.
    structure
        SQL expression of what is wrong with the record as such; NULL when nothing is.
    relation
        SQL relation over `RECORDS` that the expressions refer to.
    typed
        Declared columns that came with a type of their own: formats of text do not apply to them.
    with_nul
        Declared columns of text that may hold NUL, since no database is to store them.
    undeclared
        Columns that the source has and nobody declared.
    header
        The file's header as it stands there, for a format that has one.
    separators
        Of decimals and of thousands in the texts of numbers.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    columns: dict[str, str]
    raw: str
    structure: str = "NULL"
    relation: str = RECORDS
    typed: frozenset[str] = frozenset()
    with_nul: frozenset[str] = frozenset()
    undeclared: list[str] = field(default_factory=list)
    header: str | None = None
    separators: tuple[str, str] = (".", "")
    lines: int = 0
    """Records yielded so far."""
    error: Exception | None = None
    """What stopped the batches; DuckDB would hand on only its text."""

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
