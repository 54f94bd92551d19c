"""Records as the CSV that PostgreSQL copies into `online_predictions`; part of `pipeline.service.record`.

pyarrow writes it, column by column, so that a record costs few microseconds of the interpreter that the answers need
too. The entry point is `copy_text`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipeline.readers.stream import NUL
from pipeline.service.signature import Values

Record = tuple[float, str, int, str | None, str | None, Values, str | None, float, bool, str, str, str, bool]
"""predicted_at in seconds since 1970, request_id, row, customer_id, product_id, features, features_week, satisfaction,
likely_satisfied, role, model_version, contract, served."""
NamedRecord = tuple[tuple[str, ...], Record]
"""A record, after the names of its features."""

SCHEMA = pa.schema(
    [
        ("predicted_at", pa.timestamp("us", "UTC")),
        ("request_id", pa.string()),
        ("row", pa.int64()),
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("features", pa.string()),
        ("features_week", pa.string()),
        ("satisfaction", pa.float64()),
        ("likely_satisfied", pa.bool_()),
        ("role", pa.string()),
        ("model_version", pa.string()),
        ("contract", pa.string()),
        ("served", pa.bool_()),
    ]
)
COPY = f"COPY online_predictions ({', '.join(SCHEMA.names)}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
_FEATURES = SCHEMA.names.index("features")
_WITHOUT_HEADER = pa_csv.WriteOptions(include_header=False)
_encoder = msgspec.json.Encoder()


def copy_text(records: Sequence[NamedRecord]) -> bytes:
    """Return the lines of some records, in order; a NUL, which PostgreSQL cannot hold, is written as everywhere."""
    names, plain = zip(*records, strict=True)
    try:
        text = _csv(names, plain)
        if b"\0" not in text and b"\\u0000" not in text:
            return text
    except (UnicodeEncodeError, pa.ArrowInvalid):  # half a surrogate pair
        pass
    return _csv([tuple(map(_holdable, of_one)) for of_one in names], map(_clean, plain))


def _csv(names: Iterable[tuple[str, ...]], records: Iterable[Record]) -> bytes:
    columns: list[Any] = list(zip(*records, strict=True))
    columns[0] = [int(seconds * 1_000_000) for seconds in columns[0]]
    columns[_FEATURES] = _json(names, columns[_FEATURES])
    output = pa.BufferOutputStream()
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    pa_csv.write_csv(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA), output, _WITHOUT_HEADER)
    return output.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _json(names: Iterable[tuple[str, ...]], features: Iterable[Values]) -> list[str]:
    """Return the features of each record as a JSON object; NaN and infinities become null."""
    objects = [dict(zip(of_one, values, strict=True)) for of_one, values in zip(names, features, strict=True)]
    return _encoder.encode_lines(objects).decode().split("\n")[:-1]


def _clean(record: Record) -> Any:
    """Return a record without what PostgreSQL cannot hold."""
    return [tuple(map(_clean_text, value)) if isinstance(value, tuple) else _clean_text(value) for value in record]


def _clean_text(value: Any) -> Any:
    return _holdable(value) if isinstance(value, str) else value


def _holdable(text: str) -> str:
    return text.replace("\0", NUL).encode("utf-8", "replace").decode()
