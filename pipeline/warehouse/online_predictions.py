"""The table `online_predictions`: records as the text that COPY reads, and batches of them, each written exactly once.

The text is CSV with control characters as its delimiter and quote. JSON never holds one and names hardly ever do, so
almost nothing is escaped, and a record costs a few microseconds. The text is made where the answer was made, because a
thread that made it would compete for the interpreter all the time.

If a connection is lost during a COMMIT, the client does not know whether the batch was written. So every batch has a
number, and the process's row in `online_recorders` takes that number in the same transaction. After reconnecting, the
row says which batch was the last. It is read by writing to it, which waits until the lost transaction has ended. Entry
points: `Record`, `lines`, `OnlinePredictions`.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import psycopg

from pipeline.settings import Settings
from pipeline.sources.stream import NUL
from pipeline.warehouse.bounded import connect

QUOTE, NULL = "\x02", "\x03"
NEEDS_CLEANING = re.compile("[\0\x01\x02\x03\r\n\ud800-\udfff]")
ANSWER_SECONDS = 10
REFUSED = (psycopg.DataError, psycopg.IntegrityError)
"""PostgreSQL cannot hold some record of the batch; nothing of it was written."""
LAST_BATCH = """
INSERT INTO online_recorders (recorder_id) VALUES (%s)
ON CONFLICT (recorder_id) DO UPDATE SET recorder_id = excluded.recorder_id RETURNING batches
"""
COUNT_BATCH = """
UPDATE online_recorders SET batches = %s, recorded_at = now(), recorded = recorded + %s, dropped = %s
WHERE recorder_id = %s
"""

_encoder = msgspec.json.Encoder()


class Record(msgspec.Struct, gc=False):
    """One prediction as it is recorded: the fields are the columns of `online_predictions`, in this order."""

    predicted_at: float
    """Seconds since 1970."""
    request_id: str
    row: int
    customer_id: str | None
    product_id: str | None
    features: tuple[float | bool | str | None, ...]
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
    """Return records as text, in order; `names` are those of their features. A NUL becomes `NUL`."""
    ids = "".join([f"{record.request_id}{record.customer_id}{record.product_id}" for record in records])
    try:
        features = _features(names, records)
        is_clean = "\\u0000" not in features and NEEDS_CLEANING.search(ids) is None
    except UnicodeEncodeError:  # half a surrogate pair
        is_clean = False
    if not is_clean:
        records = [_clean(record) for record in records]
        features = _features(names, records)
    return Lines("".join(map(_line, records, features.split("\n"))).encode(), len(records))


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


class OnlinePredictions:
    """The table, written to by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recorder_id = uuid4()
        self._batches = 0
        """How many batches are known to be written."""
        self._connection: psycopg.Connection | None = None

    def write(self, batch: Sequence[Lines], dropped_rows: int) -> None:
        """Write a batch, and how many rows this process has dropped so far.

        Raises one of `REFUSED` if PostgreSQL cannot hold a record. After any other error the batch may be written or
        not, and the next call must bring the same batch.
        """
        number = self._batches + 1
        try:
            if self._connection is None:
                self._connection = connect(self._settings, answer_seconds=ANSWER_SECONDS)
                last = self._connection.execute(LAST_BATCH, [self._recorder_id]).fetchone()
                assert last is not None, "the row was just written"
                if last[0] >= number:  # only the news of its COMMIT was lost
                    self._batches = number
                    return
            with self._connection.transaction(), self._connection.cursor() as cursor:
                with cursor.copy(COPY) as copy:
                    copy.write(b"".join([lines.text for lines in batch]))
                rows = sum(lines.rows for lines in batch)
                cursor.execute(COUNT_BATCH, [number, rows, dropped_rows, self._recorder_id])
        except REFUSED:
            raise
        except BaseException:
            self.close()
            raise
        self._batches = number

    def close(self) -> None:
        """Close the connection. A later write opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
