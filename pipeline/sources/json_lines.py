"""Reads JSON Lines as text: splits the lines, and leaves the values to DuckDB's JSON functions."""

import io
import json
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.duck import literal
from pipeline.errors import SourceError
from pipeline.settings import Source
from pipeline.sources.stream import MARK
from pipeline.sources.texts import LINE, RECORD_BYTES, RECORDS, Texts, wrong_columns

_SCHEMA = pa.schema([("record", pa.string()), (LINE, pa.int64())])
BATCH_BYTES = 4 << 20


def read_json_lines(
    context: str, source: Source, blocks: Iterator[bytes], optional: frozenset[str] = frozenset()
) -> Texts:
    """Return the records of a JSON Lines file: one object on each line; blank lines are skipped.

    A declared column may be absent from all records if it is in `optional`.
    """
    pointers = [literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in source.columns]
    values = f"json_extract_string(record, [{', '.join(pointers)}])"
    is_object = "CASE WHEN json_valid(record) THEN json_type(record) = 'OBJECT' ELSE false END"
    texts = _whole_lines(context, blocks)
    first = next(texts, b"")
    return Texts(
        schema=_SCHEMA,
        batches=_batches(context, source, chain([first], texts), optional),
        columns={name: f"fields[{index}]" for index, name in enumerate(source.columns, start=1)},
        raw="record",
        relation=f"(SELECT *, CASE WHEN {is_object} THEN {values} END AS fields FROM {RECORDS})",
        structure=f"CASE WHEN contains(record, {literal(MARK)}) THEN 'is not text in UTF-8' "
        f"WHEN fields IS NULL THEN 'is not a JSON object' ELSE {_nested(source, pointers)} END",
        undeclared=_undeclared(source, next((line for line in io.BytesIO(first) if line.strip()), b"")),
    )


def _nested(source: Source, pointers: list[str]) -> str:
    """Return the SQL expression of which text columns hold an object or a list; its JSON would pass for text."""
    problems = [
        f"CASE WHEN fields[{index}][1] IN ('{{', '[') AND json_type(record, {pointer}) IN ('OBJECT', 'ARRAY') "
        f"THEN {literal(f'{name}: a nested value is not text')} END"
        for index, (name, pointer) in enumerate(zip(source.columns, pointers, strict=True), start=1)
        if source.columns[name].type == "text"
    ]
    return f"nullif(concat_ws('; ', {', '.join(['NULL', *problems])}), '')"


def _batches(
    context: str, source: Source, texts: Iterator[bytes], optional: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    unseen = source.columns.keys() - optional
    line = 0
    has_records = False
    for text in texts:
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        numbers = np.arange(ends.size)
        offsets = np.append(0, ends - numbers).astype(np.int32)  # in the text without its line breaks
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text.replace(b"\n", b""))]
        records = pa.Array.from_buffers(pa.string(), ends.size, buffers)
        batch = pa.RecordBatch.from_arrays([records, pa.array(line + 1 + numbers)], schema=_SCHEMA)
        batch = batch.filter(pc.invert(pc.or_(pc.equal(records, ""), pc.ascii_is_space(records))))
        line += ends.size
        unseen = {name for name in unseen if not _is_in(name, text)}
        if batch.num_rows:
            has_records = True
            yield batch
    if unseen and has_records:
        raise wrong_columns(f"{context}: no record has {', '.join(sorted(map(repr, unseen)))}", source, optional)


def _whole_lines(context: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole lines with their line breaks, a few MiB at a time."""
    rest: list[bytes] = []
    size = lines = 0
    for block in blocks:
        rest.append(block)
        size += len(block)
        if size < BATCH_BYTES:
            continue
        text = b"".join(rest)
        end = text.rfind(b"\n") + 1
        lines += text.count(b"\n")
        rest, size = [text[end:]], len(text) - end
        if size > RECORD_BYTES:
            raise SourceError(
                f"{context}: line {lines + 1} is longer than {RECORD_BYTES >> 20} MiB.",
                "one record on each line.",
                "correct the line and run the week again.",
            )
        if end:
            yield text[:end]
    if text := b"".join(rest):
        yield text.removesuffix(b"\n") + b"\n"


def _undeclared(source: Source, record: bytes) -> list[str]:
    """Return the keys of the first record that are not declared."""
    try:
        keys = json.loads(record)
    except (ValueError, RecursionError):  # a reject, or nested deeper than Python can read
        return []
    return [key for key in keys if key not in source.columns] if isinstance(keys, dict) else []


def _is_in(name: str, text: bytes) -> bool:
    return any(json.dumps(name, ensure_ascii=is_ascii).encode() in text for is_ascii in (True, False))
