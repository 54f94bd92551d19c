"""Write batches of records into the table `online_predictions`, each exactly once.

If a connection is lost during a COMMIT, the client does not know whether the batch was written. So every batch has a
number, and the process's row in `online_recorders` takes that number in the same transaction. After reconnecting, the
row says which batch was the last. It is read by writing to it, which waits until the lost transaction has ended. The
entry point is `OnlinePredictions`.
"""

from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import psycopg

from pipeline.service.connection import connect
from pipeline.service.record.text import COPY, Lines
from pipeline.settings import Settings

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


class OnlinePredictions:
    """The table, written to by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recorder_id = uuid4()
        self._batches = 0
        """How many batches are known to be written."""
        self._connection: psycopg.Connection | None = None

    def write(self, batch: Sequence[Lines], dropped_rows: int) -> None:
        """Write a batch. If that fails for another reason than `REFUSED`, the next call must bring the same batch.

        Parameters
        ----------
        batch
            The records.
        dropped_rows
            How many records this process has dropped so far.

        Raises
        ------
        psycopg.DataError, psycopg.IntegrityError
            If PostgreSQL cannot hold a record.
        psycopg.Error, BarometerError, SQLAlchemyError, OSError
            If the batch cannot be written now.
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
