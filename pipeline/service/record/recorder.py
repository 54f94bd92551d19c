"""The record of what was answered: a bounded queue, and a thread that writes it to `online_predictions` in batches.

Putting answers into the queue takes next to no time. While the database is away, the queue keeps what fits and counts
what it drops; when the database is back, the thread continues where it stopped. A record that is not dropped is written
exactly once (see `pipeline.warehouse.online_predictions`). The entry point is `Recorder`.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event, Lock, Thread

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import BarometerError
from pipeline.settings import Settings
from pipeline.warehouse.online_predictions import REFUSED, Lines, OnlinePredictions, Record, lines

ROW_BYTES = 2_048
"""The average record that the queue's memory is planned for; of longer ones fewer fit. 20 features take 400 bytes."""
PAUSE_SECONDS = 0.25
"""Between two writes."""
LONGEST_PAUSE_SECONDS = 5.0
"""Between two attempts while the database is away."""
CHUNK_ROWS = 64
"""Most records that are turned into one text."""
BATCH_ROWS = 5_000
"""Most records of a transaction. More than 20,000 a second would slow the answers down."""
STOP_SECONDS = 5.0
"""How long stopping may take. Records that still wait then are lost, and the log says how many."""
EXPECTED = (psycopg.Error, SQLAlchemyError, BarometerError, OSError)
"""Errors of a warehouse that is away. Any other error is logged with its traceback."""

log = logging.getLogger(__name__)


class Recorder:
    """Writes records in the background. At most `service.record_rows` wait, of `ROW_BYTES` on average."""

    def __init__(self, settings: Settings) -> None:
        self._most_rows = settings.service.record_rows
        self._table = OnlinePredictions(settings)
        self._queue: deque[Lines] = deque()
        self._batches: list[list[Lines]] = []
        """Taken from the queue and not yet written, oldest first."""
        self._lock = Lock()
        """Guards the queue and the counts; held for an instant."""
        self.written = self.dropped = self.waiting = 0
        """How many records are in the table, were given up, and wait to be written."""
        self._waiting_bytes = 0
        self._away_since: datetime | None = None
        self._stopping = Event()
        self._deadline = float("inf")
        self._thread = Thread(target=self._run, name="recorder", daemon=True)

    @property
    def state(self) -> dict[str, str]:
        """`state` (recording or away) and, while the database is away, since when."""
        if self._away_since is not None:
            return {"state": "away", "since": self._away_since.isoformat(timespec="seconds")}
        return {"state": "recording"}

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def put(self, names: tuple[str, ...], records: Sequence[Record]) -> None:
        """Queue records as far as there is room, without waiting; `names` are those of their features.

        Any thread may call this. The records must not be changed afterwards.
        """
        with self._lock:
            room = self._most_rows - self.waiting
            self.dropped += max(0, len(records) - room)
            records = records[:room]
            self.waiting += len(records)
        for start in range(0, len(records), CHUNK_ROWS):
            self._put_chunk(names, records[start : start + CHUNK_ROWS])

    def _put_chunk(self, names: tuple[str, ...], records: Sequence[Record]) -> None:
        try:
            chunk = lines(names, records)
        except Exception:  # a failure here must not cost anyone an answer
            log.exception("%d predictions cannot be recorded", len(records))
            chunk = Lines(b"", len(records))
        with self._lock:
            self._waiting_bytes += len(chunk.text)
            if chunk.text and self._waiting_bytes <= self._most_rows * ROW_BYTES:
                self._queue.append(chunk)
                return
        self._count([chunk], is_written=False)

    def stop(self) -> None:
        """Write what is waiting, for at most `STOP_SECONDS`, and end the thread."""
        self._deadline = time.monotonic() + STOP_SECONDS
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        if self.waiting:
            log.error("%d predictions were not recorded: the warehouse did not take them in time.", self.waiting)

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._stopping.wait(pause):
            pause = PAUSE_SECONDS if self._write() else min(2 * pause, LONGEST_PAUSE_SECONDS)
        while not self._write() and time.monotonic() < self._deadline:
            time.sleep(PAUSE_SECONDS)
        self._table.close()

    def _write(self) -> bool:
        """Write a batch, or all of them when stopping. Return False if the database does not take it now."""
        while time.monotonic() < self._deadline and (batch := self._oldest_batch()):
            try:
                self._table.write(batch, self.dropped)
            except REFUSED as error:
                self._split(error)
            except Exception as error:  # the thread must not end: any failure may pass
                if self._away_since is None:
                    bug = None if isinstance(error, EXPECTED) else error
                    log.warning("The warehouse does not take the record of predictions: %s", error, exc_info=bug)
                    self._away_since = datetime.now(UTC)
                return False
            else:
                self._batches.pop(0)
                if self._away_since is not None:  # logged before the batch is counted, so that both are seen together
                    log.warning("The warehouse is back: what waited is being recorded.")
                    self._away_since = None
                self._count(batch, is_written=True)
            if not self._stopping.is_set():
                break
        return True

    def _oldest_batch(self) -> list[Lines] | None:
        if not self._batches and self._queue:
            batch: list[Lines] = []
            while self._queue and _rows(batch) < BATCH_ROWS and _bytes(batch) < BATCH_ROWS * ROW_BYTES:
                batch.append(self._queue.popleft())  # only this thread takes; others append
            self._batches = [batch]
        return self._batches[0] if self._batches else None

    def _split(self, error: psycopg.Error) -> None:
        """Halve a batch with a record that PostgreSQL cannot hold; drop it if it is a single chunk."""
        batch = self._batches.pop(0)
        if len(batch) > 1:
            half = len(batch) // 2
            self._batches[:0] = [batch[:half], batch[half:]]
            return
        log.error("%d predictions cannot be recorded: %s", _rows(batch), error.diag.message_primary)
        self._count(batch, is_written=False)

    def _count(self, batch: Sequence[Lines], *, is_written: bool) -> None:
        """Count records that no longer wait."""
        rows = _rows(batch)
        with self._lock:
            self.waiting -= rows
            self._waiting_bytes -= _bytes(batch)
            if is_written:
                self.written += rows
            else:
                self.dropped += rows


def _rows(batch: Sequence[Lines]) -> int:
    return sum(chunk.rows for chunk in batch)


def _bytes(batch: Sequence[Lines]) -> int:
    return sum(len(chunk.text) for chunk in batch)
