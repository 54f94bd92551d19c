"""Drop the tables of superseded runs once no reader can see them any more; part of publish.

To drop a partition, PostgreSQL locks the table of its week for a moment. The attempt has a very
short timeout. A table that cannot be dropped now is dropped after a later publish. A run's shadow
scores are dropped with its predictions. The entry point is `drop_superseded`.
"""

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from pipeline.duck import literal
from pipeline.warehouse import AS_IT_STANDS

PUBLISHING = "hashtextextended('publish ' || :week, 0)"
"""Key of the advisory lock that lets one publish of a week run at a time."""
LOCK_TIMEOUT = "50ms"
KINDS = ("predictions", "shadow_predictions")
"""The tables of `storage` with a partition for each week, which has one for each run."""


def drop_superseded(connection: Connection) -> None:
    """Drop superseded runs' tables, skipping any that a reader may still need."""
    query = text(
        "SELECT substr(relname, 13) FROM pg_class"
        " WHERE relnamespace = 'storage'::regnamespace AND relname ~ '^predictions_[0-9]{8}_[0-9]+$'"
        " EXCEPT SELECT translate(run_id, '.-', '_') FROM published_weeks ORDER BY 1"
    )
    with connection.begin():
        names = connection.execute(query).scalars().all()
    for name in names:
        day, n = name.split("_")
        _drop(connection, f"{day[:4]}-{day[4:6]}-{day[6:]}.{n}")


def run_table(run_id: str, kind: str = "predictions") -> str:
    """Return the name in the schema `storage` of the table of a run (or of a week)."""
    return f"{kind}_{run_id.replace('-', '').replace('.', '_')}"


def _drop(connection: Connection, run_id: str) -> None:
    facts = {"week": run_id.partition(".")[0], "run_id": run_id}
    tables = ", ".join(f"storage.{run_table(run_id, kind)}" for kind in KINDS)
    try:
        with connection.begin():
            if _is_needed(connection, facts):
                return
            # One message with the COMMIT: readers never wait for this process, which may die.
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';"
                f" DELETE FROM storage.satisfaction_by_product WHERE run_id = {literal(run_id)};"
                f" DROP TABLE IF EXISTS {tables}; COMMIT",
                execution_options=AS_IT_STANDS,
            )
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise


def _is_needed(connection: Connection, facts: dict[str, str]) -> bool:
    """Return whether the run is published or being published, or an open transaction may see it.

    The pointer of the week was written by the transaction `xmin`, which published its present run.
    A session whose snapshot predates that has an older `backend_xmin`. Sessions that this role may
    not inspect are assumed to be such readers.
    """
    turn = connection.execute(text(f"SELECT pg_try_advisory_xact_lock({PUBLISHING})"), facts).scalar_one()
    query = text(
        "SELECT EXISTS (SELECT FROM published_weeks WHERE run_id = :run_id) OR EXISTS ("
        " SELECT FROM published_weeks AS pointer, pg_stat_activity AS other"
        " WHERE pointer.week = CAST(:week AS date) AND other.datname = current_database()"
        " AND other.pid <> pg_backend_pid()"
        " AND (age(other.backend_xmin) >= age(pointer.xmin) OR other.query = '<insufficient privilege>'))"
    )
    return not turn or bool(connection.execute(query, facts).scalar_one())
