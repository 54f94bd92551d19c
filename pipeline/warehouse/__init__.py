"""The warehouse: connections, transactions, and the schema, which numbered SQL files define.

All of the pipeline's SQL for the warehouse goes through here. Entry points: `engine`, which first
brings the schema up to date, and `transaction`. For many rows there is
`pipeline.warehouse.loading`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from pipeline.errors import DatabaseUnavailableError, WarehouseError
from pipeline.files import sha256_of_text
from pipeline.local.postgres.databases import CONNECTING, databases
from pipeline.settings import ROOT, Settings

MIGRATIONS = ROOT / "sql" / "migrations"
LOCK = 0x0BA21
AS_IT_STANDS = {"no_parameters": True}
"""Execution option for SQL with several statements, in which % and : are plain characters."""
GONE = ("08", "53300", "57P")
"""SQL states of a connection that broke or was refused, so that a later attempt may succeed."""


def engine(settings: Settings) -> Engine:
    """Return the engine of the warehouse, after bringing its schema up to date.

    It keeps no connections open, because processes fork and the embedded server may restart.

    Raises
    ------
    DatabaseUnavailableError
        If the server does not answer.
    WarehouseError
        If this version cannot bring the schema up to date.
    """
    return _engine(databases(settings).warehouse)


@contextmanager
def transaction(settings: Settings) -> Iterator[Connection]:
    """Yield a connection in a transaction, which commits if the block succeeds, else rolls back.

    Raises
    ------
    DatabaseUnavailableError
        If the server does not answer, or the connection is lost. The transaction may then be
        committed or not.
    """
    with available(), engine(settings).begin() as connection:
        yield connection


@contextmanager
def available() -> Iterator[None]:
    """Raise the loss of a connection in the block as a `DatabaseUnavailableError`."""
    try:
        yield
    except OperationalError as error:
        raise unavailable(error, getattr(error.orig, "sqlstate", None)) from None


def unavailable(error: Exception, sql_state: str | None) -> Exception:
    """Return a `DatabaseUnavailableError` for a lost or refused connection, else the error itself."""
    if sql_state is not None and not sql_state.startswith(GONE):
        return error
    return DatabaseUnavailableError(
        f"The warehouse does not answer: {error}",
        "a connection.",
        "try again; if it lasts, see that the server runs (barometer status).",
    )


@cache
def _engine(url: str) -> Engine:
    made = create_engine(url, poolclass=NullPool, connect_args=CONNECTING)
    with available(), made.begin() as connection:
        migrate(connection)
    return made


def migrate(connection: Connection, folder: Path = MIGRATIONS) -> None:
    """Apply the new files `NNNN_name.sql` of `folder`, in order, in the caller's transaction.

    Raises
    ------
    WarehouseError
        If an applied file is missing or has changed.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    connection.execute(
        text(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    )
    applied = {row.name: row.digest for row in connection.execute(text("SELECT name, digest FROM schema_migrations"))}
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("[0-9]*.sql"))}
    for name, digest in applied.items():
        if name not in files or sha256_of_text(files[name]) != digest:
            raise WarehouseError(
                f"The warehouse has the migration {name}, which {'differs' if name in files else 'is not'} here.",
                "every applied migration, unchanged, in sql/migrations.",
                "use the version of Barometer that made this warehouse, or a newer one; undo changes to that file.",
            )
    for name, content in files.items():
        if name not in applied:
            connection.exec_driver_sql(content, execution_options=AS_IT_STANDS)
            connection.execute(
                text("INSERT INTO schema_migrations (name, digest) VALUES (:name, :digest)"),
                {"name": name, "digest": sha256_of_text(content)},
            )
