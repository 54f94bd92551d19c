"""Airflow's connections as the URLs of sources: whoever runs inside Airflow lends the look-up, nothing here imports it.

Used by `pipeline.sources.database`. The entry points are `connection_url` and, for the adapter, `lend`.
"""

from collections.abc import Callable

import sqlalchemy as sa

from pipeline.errors import ConfigError

LookUp = Callable[[str], sa.URL]
_lent: list[LookUp] = []


def connection_url(name: str, connection: str) -> sa.URL:
    """Return the URL of the connection that source `name` names.

    Raises
    ------
    ConfigError
        If nobody inside Airflow lent the look-up, or Airflow knows no such connection.
    """
    if not _lent:
        raise ConfigError(
            f"Source {name}: its connection {connection!r} is Airflow's, and this process is not inside Airflow.",
            "a DAG run.",
            "read the source in a run: barometer run or barometer train.",
        )
    return _lent[-1](connection)


def lend(look_up: LookUp) -> None:
    """Let the sources of this process use Airflow's connections."""
    _lent[:] = [look_up]
