"""A job's results and rejects as CSV, JSON Lines or Parquet, streamed from Parquet.

Used by the service and the command `score`. The entry point is `stream_results`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

Form = Literal["csv", "jsonlines", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
BATCH_ROWS = 4_096
BLOCK_BYTES = 1 << 18


def stream_results(path: Path, form: Form) -> Iterator[bytes]:
    """Return the content of a Parquet file in another form, piece by piece.

    If the file does not exist, the FileNotFoundError comes at once.
    """
    file = path.open("rb")  # now, so that a reader is not disturbed when the job expires
    return _WRITERS[form](file)


def _parquet(file: io.BufferedReader) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _json_lines(file: io.BufferedReader) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for batch in _batches(file):
        yield encoder.encode_lines(batch.to_pylist())


def _csv(file: io.BufferedReader) -> Iterator[bytes]:
    with pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
    yield (",".join(schema.names) + "\n").encode()
    options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in _batches(file):
        piece = io.BytesIO()
        pa_csv.write_csv(batch, piece, options)
        yield piece.getvalue()


def _batches(file: io.BufferedReader) -> Iterator[pa.RecordBatch]:
    with file, pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):  # one by one: given all groups, pyarrow keeps what it has read
            yield from parquet.iter_batches(BATCH_ROWS, row_groups=[group])


_WRITERS: dict[Form, Callable[[io.BufferedReader], Iterator[bytes]]] = {
    "csv": _csv,
    "jsonlines": _json_lines,
    "parquet": _parquet,
}
