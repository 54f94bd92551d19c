"""Airflow's connections, for the sources that name one.

Airflow looks a connection up in its own order: a configured secrets backend, the variable
`AIRFLOW_CONN_…`, the metadata database. The task that reads the source does it, so the secret is in
no file of ours, and Airflow masks it in the task's log. The entry point is `lend_connections`.
"""

import sqlalchemy as sa
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from pipeline.errors import ConfigError

DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
"""SQLAlchemy's driver for Airflow's connection types, where the names differ. A connection's extra
`sqlalchemy_scheme` overrides it, as for Airflow's own hooks."""


def lend_connections() -> None:
    """Let the sources of this process use Airflow's connections."""
    from pipeline.sources.database import lend_look_up  # imports pyarrow, which no DAG needs to be parsed

    lend_look_up(_url)


def _url(connection_id: str) -> sa.URL:
    try:
        connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        raise ConfigError(
            f"Airflow has no connection {connection_id!r}.",
            "a connection with that id, because a source names it.",
            f"add it in Airflow's UI (Admin → Connections), or set AIRFLOW_CONN_{connection_id.upper()}.",
        ) from None
    extra = connection.extra_dejson
    kind = str(connection.conn_type or "")
    return sa.URL.create(
        extra.get("sqlalchemy_scheme") or DRIVERS.get(kind, kind),
        connection.login or None,
        connection.password or None,
        connection.host or None,
        connection.port,
        connection.schema or None,
        {key: str(value) for key, value in extra.items() if key != "sqlalchemy_scheme"},
    )
