"""The record of what was answered: into the warehouse's `online_predictions`, in batches, in the background.

Answers are put into a bounded queue, which takes no time worth the name; one thread writes them. While the database is
away the queue keeps what fits and counts what it must drop; when the database is back, the thread goes on where it was.
Each record that is not dropped is written exactly once: see `pipeline.service.record.table`. The entry point is
`Recorder`.
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
from pipeline.service.record.table import OnlinePredictions
from pipeline.service.record.text import Lines, Record, lines
from pipeline.settings import Settings

__all__ = ["Record", "Recorder"]

ROW_BYTES = 2_048
"""So long a record may be on average; of longer ones fewer wait, so that the memory is bounded. Twenty features take
400 bytes."""
PAUSE_SECONDS = 0.25
"""So often what is waiting is written."""
CHUNK_ROWS = 64
"""Most records of one text."""
BATCH_ROWS = 5_000
"""Most records of a transaction, one in each pause: to write more than 20,000 a second would slow the answers down."""
LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries while the database is away."""
STOP_SECONDS = 5.0
"""Stopping takes at most so long: what is then still waiting is lost, and told in the log."""
REFUSED = (psycopg.DataError, psycopg.IntegrityError)
EXPECTED = (psycopg.Error, SQLAlchemyError, BarometerError, OSError)
"""While the warehouse is away; whatever else happens is told with its traceback."""

log = logging.getLogger(__name__)


class Recorder:
    """Writes records in the background; `service.record_rows` may wait, of at most `ROW_BYTES` on average.

    Attributes
    ----------
    written, dropped, waiting
        Records: in the table, given up, to be written.
    """

    def __init__(self, settings: Settings) -> None:
        self._bound = settings.service.record_rows
        self._table = OnlinePredictions(settings)
        self._queue: deque[Lines] = deque()
        self._batches: list[list[Lines]] = []
        """Taken from the queue and not written yet, the oldest first."""
        self._lock = Lock()
        """Over the queue and the counts, held for an instant."""
        self.written = self.dropped = self.waiting = 0
        self._waiting_bytes = 0
        self._away_since: datetime | None = None
        self._stopping = Event()
        self._deadline = float("inf")
        self._thread = Thread(target=self._run, name="recorder", daemon=True)

    @property
    def state(self) -> dict[str, str]:
        """`state` (off, recording or away) and, while the database is away, since when; the log says why."""
        if self._away_since is not None:
            return {"state": "away", "since": self._away_since.isoformat(timespec="seconds")}
        return {"state": "recording" if self._bound else "off"}

    def start(self) -> None:
        """Begin to write, in a thread."""
        if self._bound:
            self._thread.start()

    def put(self, names: tuple[str, ...], records: Sequence[Record]) -> None:
        """Take records to write, as far as there is room; never waits, whichever thread calls.

        Parameters
        ----------
        names
            Of their features, in order.
        records
            Not to be changed afterwards.
        """
        if not self._bound:
            return
        with self._lock:
            room = self._bound - self.waiting
            if len(records) > room:
                self.dropped += len(records) - room
                records = records[:room]
            self.waiting += len(records)
        for start in range(0, len(records), CHUNK_ROWS):
            self._append(names, records[start : start + CHUNK_ROWS])

    def _append(self, names: tuple[str, ...], records: Sequence[Record]) -> None:
        try:
            text = lines(names, records)
        except Exception:  # whatever it is, it must not cost anybody an answer
            log.exception("%d predictions cannot be recorded", len(records))
            text = Lines(b"", len(records))
        with self._lock:
            self._waiting_bytes += len(text.text)
            if text.text and self._waiting_bytes <= self._bound * ROW_BYTES:
                self._queue.append(text)
                return
        self._leave([text], is_written=False)

    def stop(self) -> None:
        """Write what is waiting, as far as that takes at most `STOP_SECONDS`, and end the thread."""
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
        """Write a batch, when stopping all of them; return False when that is not possible now."""
        while time.monotonic() < self._deadline and (batch := self._oldest()):
            try:
                self._table.write(batch, self.dropped)
            except REFUSED as error:
                self._set_apart(error)
            except Exception as error:  # noqa: BLE001 - the thread must not end: whatever it is may pass
                self._note_away(error)
                return False
            else:
                self._done(batch)
            if not self._stopping.is_set():
                break
        return True

    def _oldest(self) -> list[Lines] | None:
        """Return the oldest batch that is not written, None when nothing is waiting."""
        if not self._batches and self._queue:
            batch: list[Lines] = []
            while self._queue and _rows(batch) < BATCH_ROWS and _bytes(batch) < BATCH_ROWS * ROW_BYTES:
                batch.append(self._queue.popleft())  # by this thread only; others append
            self._batches.append(batch)
        return self._batches[0] if self._batches else None

    def _done(self, batch: list[Lines]) -> None:
        self._batches.pop(0)
        if self._away_since is not None:  # told before it is counted, so that who sees the one sees the other
            log.warning("The warehouse is back: what waited is being recorded.")
            self._away_since = None
        self._leave(batch, is_written=True)

    def _set_apart(self, error: psycopg.Error) -> None:
        """Halve a batch of which PostgreSQL cannot hold some record; in the end give up those put together with it."""
        batch = self._batches.pop(0)
        if len(batch) > 1:
            half = len(batch) // 2
            self._batches[:0] = [batch[:half], batch[half:]]
            return
        log.error("%d predictions cannot be recorded: %s", _rows(batch), error.diag.message_primary)
        self._leave(batch, is_written=False)

    def _note_away(self, error: Exception) -> None:
        if self._away_since is None:
            traceback = None if isinstance(error, EXPECTED) else error
            log.warning("The warehouse does not take the record of predictions: %s", error, exc_info=traceback)
            self._away_since = datetime.now(UTC)

    def _leave(self, batch: Sequence[Lines], *, is_written: bool) -> None:
        """Count records that wait no longer."""
        with self._lock:
            self.waiting -= _rows(batch)
            self._waiting_bytes -= _bytes(batch)
            if is_written:
                self.written += _rows(batch)
            else:
                self.dropped += _rows(batch)


def _rows(batch: Sequence[Lines]) -> int:
    return sum(lines.rows for lines in batch)


def _bytes(batch: Sequence[Lines]) -> int:
    return sum(len(lines.text) for lines in batch)
