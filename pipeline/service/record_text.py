"""Records as the text that PostgreSQL copies into `online_predictions`; part of `pipeline.service.record`.

It is CSV whose delimiter and quote are control characters. JSON never holds one, and names hardly ever do, so nothing
need be escaped: a record costs few microseconds of the interpreter that the answers need too. The entry point is
`copy_text`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from pipeline.readers.stream import NUL
from pipeline.service.signature import Values

Record = tuple[float, str, int, str | None, str | None, Values, str | None, float, bool, str, str, str, bool]
"""predicted_at in seconds since 1970, request_id, row, customer_id, product_id, features, features_week, satisfaction,
likely_satisfied, role, model_version, contract, served."""
NamedRecord = tuple[tuple[str, ...], Record]
"""A record, after the names of its features."""

COPY = (
    "COPY online_predictions (predicted_at, request_id, row, customer_id, product_id, features, features_week,"
    " satisfaction, likely_satisfied, role, model_version, contract, served)"
    r" FROM STDIN (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', NULL E'\x03', ENCODING 'UTF8')"
)
QUOTE, NULL = "\x02", "\x03"
NOT_AS_IT_STANDS = re.compile("[\0\x01\x02\x03\r\n]")
NUL_IN_JSON = b"\\u0000"

_encoder = msgspec.json.Encoder()


def copy_text(records: Sequence[NamedRecord]) -> bytes:
    """Return the lines of some records, in order; a NUL, which PostgreSQL cannot hold, is written as everywhere."""
    try:
        features = _features(records)
        text = _lines(records, features)
        names = "".join([f"{record[1]}{record[3]}{record[4]}" for _, record in records])
        is_plain = NUL_IN_JSON not in features and NOT_AS_IT_STANDS.search(names) is None
    except UnicodeEncodeError:  # half a surrogate pair
        is_plain = False
    if is_plain:
        return text
    clean = [_clean(record) for record in records]
    return _lines(clean, _features(clean))


def _features(records: Sequence[NamedRecord]) -> bytes:
    """Return the features of each record as a JSON object on a line of its own; NaN and infinities become null."""
    return _encoder.encode_lines([dict(zip(names, record[5], strict=False)) for names, record in records])


def _lines(records: Sequence[NamedRecord], features: bytes) -> bytes:
    objects = features.decode().split("\n")
    return "".join([_line(record, json) for (_, record), json in zip(records, objects, strict=False)]).encode()


def _line(record: Record, features: str) -> str:
    at, request_id, row, customer, product, _, week, satisfaction, likely, role, version, contract, served = record
    microseconds = int(at * 1_000_000)
    return (
        f"{_second(microseconds // 1_000_000)}.{microseconds % 1_000_000:06d}+00\x01{request_id}\x01{row}"
        f"\x01{NULL if customer is None else customer}\x01{NULL if product is None else product}\x01{features}"
        f"\x01{week or NULL}\x01{satisfaction}\x01{likely}\x01{role}\x01{version}\x01{contract}\x01{served}\n"
    )


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clean(named: NamedRecord) -> NamedRecord:
    """Return a record that may hold anything as one that is copied exactly, but for what PostgreSQL cannot hold."""
    names, (at, request_id, row, customer, product, values, *others) = named
    ids = [None if text is None else _quoted(text) for text in (request_id, customer, product)]
    held = tuple(_holdable(value) if isinstance(value, str) else value for value in values)
    return tuple(map(_holdable, names)), (at, ids[0] or "", row, *ids[1:], held, *others)  # type: ignore[return-value]


def _quoted(text: str) -> str:
    return QUOTE + _holdable(text).replace(QUOTE, 2 * QUOTE) + QUOTE


def _holdable(text: str) -> str:
    return text.replace("\0", NUL).encode("utf-8", "replace").decode()
