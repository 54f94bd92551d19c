"""Write batches of records into the table `online_predictions`, each exactly once.

When a connection is lost during a COMMIT, nobody knows whether it came to pass. So each batch has a number, and the
process's row in `online_recorders` takes it in the same transaction: after reconnecting, that row tells. It is asked by
writing to it, which waits for the end of the lost transaction. The entry point is `OnlinePredictions`.
"""

from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import psycopg

from pipeline.service.connection import connect
from pipeline.service.record.text import COPY, Lines
from pipeline.settings import Settings

ANSWER_SECONDS = 10


class OnlinePredictions:
    """The table, written to by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recorder_id = uuid4()
        self._batches = 0
        """Those that are known to be written."""
        self._connection: psycopg.Connection | None = None

    def write(self, batch: Sequence[Lines], dropped: int) -> None:
        """Write a batch. Until that has succeeded, or its data was refused, the next call is to bring the same batch.

        Parameters
        ----------
        batch
            The records.
        dropped
            How many records this process has given up so far.

        Raises
        ------
        psycopg.DataError, psycopg.IntegrityError
            If PostgreSQL cannot hold a record: nothing of the batch is written.
        psycopg.Error, BarometerError, SQLAlchemyError, OSError
            If it cannot be written now: call again with the same batch.
        """
        number = self._batches + 1
        try:
            if self._connection is None:
                self._connection = connect(self._settings, answer_seconds=ANSWER_SECONDS)
                if self._number_on_record(self._connection) >= number:
                    self._batches = number  # only the news of its COMMIT was lost
                    return
            self._copy(self._connection, number, batch, dropped)
        except (psycopg.DataError, psycopg.IntegrityError):
            raise
        except BaseException:
            self.close()
            raise
        self._batches = number

    def close(self) -> None:
        """Close the connection; a later write opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _number_on_record(self, connection: psycopg.Connection) -> int:
        query = (
            "INSERT INTO online_recorders (recorder_id) VALUES (%s)"
            " ON CONFLICT (recorder_id) DO UPDATE SET recorder_id = excluded.recorder_id RETURNING batches"
        )
        row = connection.execute(query, [self._recorder_id]).fetchone()
        assert row is not None, "what is written is returned"
        return int(row[0])

    def _copy(self, connection: psycopg.Connection, number: int, batch: Sequence[Lines], dropped: int) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(COPY) as copy:
                copy.write(b"".join([lines.text for lines in batch]))
            cursor.execute(
                "UPDATE online_recorders SET batches = %s, recorded_at = now(), recorded = recorded + %s, dropped = %s"
                " WHERE recorder_id = %s",
                [number, sum(lines.rows for lines in batch), dropped, self._recorder_id],
            )
