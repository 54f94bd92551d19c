"""Records as the text that PostgreSQL's COPY reads into `online_predictions`.

The text is CSV with control characters as its delimiter and quote. JSON never holds one and names hardly ever do, so
almost nothing is escaped, and a record costs a few microseconds. The text is made where the answer was made, because a
thread that made it would compete for the interpreter all the time. Entry points: `Record`, `lines`, `COPY`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from pipeline.service.instances.signature import Values
from pipeline.sources.stream import NUL

QUOTE, NULL = "\x02", "\x03"
NEEDS_QUOTES = re.compile("[\0\x01\x02\x03\r\n]")
NUL_IN_JSON = "\\u0000"

_encoder = msgspec.json.Encoder()


class Record(msgspec.Struct, gc=False):
    """One prediction as it is recorded: the fields are the columns of `online_predictions`, in the order of `COPY`."""

    predicted_at: float
    """Seconds since 1970."""
    request_id: str
    row: int
    customer_id: str | None
    product_id: str | None
    features: Values
    features_week: str | None
    satisfaction: float
    likely_satisfied: bool
    role: str
    model_version: str
    contract: str
    served: bool


COPY = (
    f"COPY online_predictions ({', '.join(Record.__struct_fields__)})"
    r" FROM STDIN (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', NULL E'\x03', ENCODING 'UTF8')"
)


class Lines(NamedTuple):
    """Records as text."""

    text: bytes
    rows: int


def lines(names: Sequence[str], records: Sequence[Record]) -> Lines:
    """Return records as text, in order. A NUL, which PostgreSQL cannot hold, becomes `NUL`.

    Parameters
    ----------
    names
        The features' names, in the order of a record's values.
    records
        Any.
    """
    try:
        features = _features(names, records)
        text = "".join(map(_line, records, features.split("\n")))
        ids = "".join([f"{record.request_id}{record.customer_id}{record.product_id}" for record in records])
        if NUL_IN_JSON not in features and NEEDS_QUOTES.search(ids) is None:
            return Lines(text.encode(), len(records))
    except UnicodeEncodeError:  # half a surrogate pair
        pass
    clean = list(map(_clean, records))
    features = _features(names, clean)
    return Lines("".join(map(_line, clean, features.split("\n"))).encode(), len(records))


def _features(names: Sequence[str], records: Sequence[Record]) -> str:
    """Return each record's features as a JSON object on its own line. NaN and infinities become null."""
    features = _type(tuple(names))
    return _encoder.encode_lines([features(*record.features) for record in records]).decode()


@lru_cache(maxsize=8)
def _type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return a type for these features. Making and encoding it takes two fifths of the time of a dict."""
    fields = [(f"f{at}", Any, msgspec.field(name=name)) for at, name in enumerate(names)]
    return msgspec.defstruct("Features", fields, gc=False)


def _line(of: Record, features: str) -> str:
    return (
        f"{_moment(of.predicted_at)}\x01{of.request_id}\x01{of.row}"
        f"\x01{NULL if of.customer_id is None else of.customer_id}"
        f"\x01{NULL if of.product_id is None else of.product_id}\x01{features}"
        f"\x01{of.features_week or NULL}\x01{of.satisfaction}\x01{of.likely_satisfied}\x01{of.role}"
        f"\x01{of.model_version}\x01{of.contract}\x01{of.served}\n"
    )


@lru_cache(maxsize=4)
def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="microseconds")


def _clean(record: Record) -> Record:
    """Return a record with quoted ids, and with texts that PostgreSQL can hold."""
    return msgspec.structs.replace(
        record,
        request_id=_quoted(record.request_id),
        customer_id=_quoted(record.customer_id),
        product_id=_quoted(record.product_id),
        features=tuple(_storable(value) if isinstance(value, str) else value for value in record.features),
    )


def _quoted(text: str | None) -> str | None:
    return None if text is None else QUOTE + _storable(text).replace(QUOTE, 2 * QUOTE) + QUOTE


def _storable(text: str) -> str:
    return text.replace("\0", NUL).encode("utf-8", "replace").decode()
