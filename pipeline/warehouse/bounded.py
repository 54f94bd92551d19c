"""Connections that wait no longer than they may, for the service: requests wait behind them. Entry: `connect`."""

from typing import Any

import psycopg

from pipeline.settings import Settings
from pipeline.warehouse import engine

CONNECT_SECONDS = 3


def connect(settings: Settings, *, answer_seconds: float, read_only: bool = False) -> psycopg.Connection:
    """Return a new connection to the warehouse, its schema up to date, that commits each statement by itself.

    Each call looks up where the embedded server is, which may have come back on another port. The server ends a
    statement after `answer_seconds`; if it does not answer at all, the connection is closed after twice this time.
    Raises DatabaseUnavailableError, or psycopg's OperationalError if the server went away just now.
    """
    url = engine(settings).url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = _Bounded.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
    connection.silent_seconds = 2 * answer_seconds
    connection.execute(f"SET statement_timeout = {round(answer_seconds * 1000)}".encode())
    if read_only:
        connection.execute(b"SET default_transaction_read_only = on")
    return connection


class _Bounded(psycopg.Connection[Any]):
    """A connection that does not wait for ever for a server or a network that says nothing."""

    silent_seconds: float = CONNECT_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does, but no longer than `silent_seconds`."""
        return super().wait(gen, interval, self.silent_seconds if timeout is None else timeout)
