"""Records as the text that PostgreSQL copies into `online_predictions`; part of `pipeline.service.record.recorder`.

It is CSV whose delimiter and quote are control characters. JSON never holds one, and names hardly ever do, so nothing
need be escaped: a record costs few microseconds of the interpreter that the answers need too. It is made where the
answer was, because a thread that made it would fight for the interpreter all the time. The entry point is `lines`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from pipeline.service.instances.signature import Values
from pipeline.sources.stream import NUL

Record = tuple[float, str, int, str | None, str | None, Values, str | None, float, bool, str, str, str, bool]
"""predicted_at in seconds since 1970, request_id, row, customer_id, product_id, features, features_week, satisfaction,
likely_satisfied, role, model_version, contract, served."""
COPY = (
    "COPY online_predictions (predicted_at, request_id, row, customer_id, product_id, features, features_week,"
    " satisfaction, likely_satisfied, role, model_version, contract, served)"
    r" FROM STDIN (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', NULL E'\x03', ENCODING 'UTF8')"
)
QUOTE, NULL = "\x02", "\x03"
NOT_AS_IT_STANDS = re.compile("[\0\x01\x02\x03\r\n]")
NUL_IN_JSON = "\\u0000"

_encoder = msgspec.json.Encoder()


class Lines(NamedTuple):
    """Records as text."""

    text: bytes
    rows: int


def lines(names: Sequence[str], records: Sequence[Record]) -> Lines:
    """Return records as text, in order; a NUL, which PostgreSQL cannot hold, is written as everywhere.

    Parameters
    ----------
    names
        Of their features, in order, such as `Signature` takes.
    records
        Any.
    """
    try:
        features = _features(names, records)
        text = "".join(map(_line, records, features.split("\n")))
        ids = "".join([f"{record[1]}{record[3]}{record[4]}" for record in records])
        if NUL_IN_JSON not in features and NOT_AS_IT_STANDS.search(ids) is None:
            return Lines(text.encode(), len(records))
    except UnicodeEncodeError:  # half a surrogate pair
        pass
    clean = list(map(_clean, records))
    features = _features(names, clean)
    return Lines("".join(map(_line, clean, features.split("\n"))).encode(), len(records))


def _features(names: Sequence[str], records: Sequence[Record]) -> str:
    """Return the features of each record as a JSON object on a line of its own; NaN and infinities become null."""
    features = _type(tuple(names))
    return _encoder.encode_lines([features(*record[5]) for record in records]).decode()


@lru_cache(maxsize=8)
def _type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return what is made and encoded in two fifths of the time that a dict takes."""
    fields = [(f"f{at}", Any, msgspec.field(name=name)) for at, name in enumerate(names)]
    return msgspec.defstruct("Features", fields, gc=False)


def _line(record: Record, features: str) -> str:
    at, request_id, row, customer, product, _, week, satisfaction, likely, role, version, contract, served = record
    return (
        f"{_moment(at)}\x01{request_id}\x01{row}"
        f"\x01{NULL if customer is None else customer}\x01{NULL if product is None else product}\x01{features}"
        f"\x01{week or NULL}\x01{satisfaction}\x01{likely}\x01{role}\x01{version}\x01{contract}\x01{served}\n"
    )


@lru_cache(maxsize=4)
def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="microseconds")


def _clean(record: Record) -> Record:
    """Return a record that may hold anything as one that is copied exactly, but for what PostgreSQL cannot hold."""
    at, request_id, row, customer, product, values, *others = record
    ids = [None if text is None else _quoted(text) for text in (request_id, customer, product)]
    held = tuple(_holdable(value) if isinstance(value, str) else value for value in values)
    return (at, ids[0] or "", row, *ids[1:], held, *others)  # type: ignore[return-value]


def _quoted(text: str) -> str:
    return QUOTE + _holdable(text).replace(QUOTE, 2 * QUOTE) + QUOTE


def _holdable(text: str) -> str:
    return text.replace("\0", NUL).encode("utf-8", "replace").decode()
