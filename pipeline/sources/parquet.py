"""Parquet as text: pyarrow reads the batches, DuckDB writes the values as text that do not have their declared type."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.duck import quoted
from pipeline.errors import SourceError
from pipeline.settings import Source
from pipeline.sources.stream import decompressed
from pipeline.sources.texts import ABSENT, LINE, Texts, refuse_wide, wrong_columns

_BATCH_ROWS = 65_536
_EXACT = {
    *(("integer", f"int{bits}") for bits in (8, 16, 32, 64)),
    *(("timestamp", f"timestamp[{unit}, tz=UTC]") for unit in ("s", "ms", "us")),
    *(("date", "date32[day]"), ("boolean", "bool")),
}
"""Declared type and type in the file, where a value is cast without its text."""


def read_parquet(
    context: str, source: Source, path: Path, *, gzipped: bool, optional: frozenset[str] = frozenset()
) -> Texts:
    """Return the records of a Parquet file. A declared column may be absent if it is in `optional`."""
    try:
        file = _unpacked(context, path) if gzipped else pq.ParquetFile(path)
        schema = file.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(context, error) from None
    refuse_wide(context, len(schema))
    counts = {name: schema.names.count(name) for name in source.columns}
    missing = [name for name, count in counts.items() if count != 1 and not (count == 0 and name in optional)]
    if missing:
        found = f"{context} has no column {missing[0]!r}, or has it twice; it has {', '.join(schema.names)}"
        raise wrong_columns(found, source, optional)
    there = [name for name, count in counts.items() if count]
    for name in there:
        if pa.types.is_nested(kind := schema.field(name).type):
            raise SourceError(
                f"{context} has nested values in the column {name!r} ({kind}).",
                "one value in a cell.",
                "deliver the parts of the value as columns of their own, or correct `columns` of the source.",
            )
    columns = [f"c{index}" for index in range(len(schema))]
    positions = {name: schema.names.index(name) for name in there}
    pairs = {n: (source.columns[n].type, str(schema.field(n).type)) for n in there if source.null_values == ("",)}
    exact = frozenset(name for name, pair in pairs.items() if pair in _EXACT)
    fields = ", ".join(f"{quoted(name)} := {column}" for name, column in zip(schema.names, columns, strict=True))
    return Texts(
        schema=pa.schema([*((c, _readable(f.type)) for c, f in zip(columns, schema, strict=True)), (LINE, pa.int64())]),
        batches=_batches(context, file, columns),
        columns={n: f"c{positions[n]}" if n in exact else f"CAST(c{positions[n]} AS VARCHAR)" for n in there}
        | {n: ABSENT for n in source.columns if n not in there},
        raw=f"CAST(to_json(struct_pack({fields})) AS VARCHAR)",
        typed=frozenset(name for name, position in positions.items() if not _is_text(schema.field(position).type)),
        exact=exact,
        undeclared=[name for name in schema.names if name not in source.columns],
    )


def _batches(context: str, file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    row = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            lines = pa.array(np.arange(row + 1, row + 1 + batch.num_rows))
            row += batch.num_rows
            arrays = [_marked(_as_readable(array)) for array in batch.columns]
            yield pa.RecordBatch.from_arrays([*arrays, lines], names=[*columns, LINE])
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(context, error) from None


def _unpacked(context: str, path: Path) -> pq.ParquetFile:
    """Open the content of a gzip file through a temporary file, because Parquet is read from its end."""
    with NamedTemporaryFile() as file:
        for block in decompressed(context, path):
            file.write(block)
        file.flush()
        return pq.ParquetFile(file.name)  # keeps the file open after its name is gone


def _as_readable(array: pa.Array) -> pa.Array:
    if _is_binary(array.type):  # a cast would refuse bytes that are not text, and `_marked` marks them
        return array.cast(pa.large_binary()).view(pa.large_string())
    return array.cast(_readable(array.type))


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return the type, or another one if DuckDB does not know it or would show it differently."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if _is_binary(kind):  # text, from a writer that does not mark it as text
        return pa.large_string()
    return pa.string() if pa.types.is_decimal256(kind) else kind


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary, _is_binary)
    return any(is_kind(kind) for is_kind in kinds)


def _marked(array: pa.Array) -> pa.Array:
    """Return the column with bytes that are not UTF-8 marked."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        values = array.cast(pa.binary()).to_pylist()
        return pa.array([value and value.decode("utf-8", "barometer-mark") for value in values], array.type)
    return array


def _unreadable(context: str, error: Exception) -> SourceError:
    return SourceError(
        f"{context} cannot be read as Parquet: {error}.",
        "a whole Parquet file.",
        "deliver the file again and run the week again.",
    )
