"""The three databases of an installation (warehouse, Airflow, MLflow), which are created if they are missing.

They are on the server that `database.url` names, or else on the embedded server
(`pipeline.local.postgres.embedded`). The entry point is `databases`.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from pipeline.errors import ConfigError, DatabaseUnavailableError
from pipeline.local.credentials import credentials
from pipeline.local.postgres import embedded
from pipeline.settings import Settings
from pipeline.settings.secrets import filled_url

ANALYST = "analyst"
CONNECTING: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""In seconds. A server whose machine or network fails is noticed within half a minute."""
LOCK = 0x0BA20


@dataclass(frozen=True)
class Databases:
    """SQLAlchemy URLs of the three databases, with passwords."""

    warehouse: str = field(repr=False)
    airflow: str = field(repr=False)
    mlflow: str = field(repr=False)
    analyst: str | None = field(repr=False)
    """The warehouse for BI tools: a plain postgresql:// URL of a read-only role. None on an outside server, whose
    administrator manages the roles."""


def databases(settings: Settings) -> Databases:
    """Return the databases of this installation; start the embedded server and create them if needed.

    Raises
    ------
    ConfigError
        If `database.url` is malformed, or its user has not the needed rights.
    DatabaseUnavailableError
        If the server does not answer.
    ServerError
        If the embedded server cannot run.
    """
    database = settings.database
    if database.url is not None:
        server, analyst = _parse(filled_url(database.url, "database.url")), None
    else:
        running = embedded.attach(settings.home, run_as=database.run_as, port=database.port)
        server = make_url(running.url)
        analyst = server.set(username=ANALYST, password=credentials(settings.home).analyst_password)
    names = tuple(f"{database.prefix}_{role}" for role in ("warehouse", "airflow", "mlflow"))
    create_missing(server, names, analyst.password if analyst else None)
    sqlalchemy = server.set(drivername="postgresql+psycopg")
    warehouse, airflow, mlflow = (_render(sqlalchemy.set(database=name)) for name in names)
    return Databases(warehouse, airflow, mlflow, _render(analyst.set(database=names[0])) if analyst else None)


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except Exception:  # noqa: BLE001 - no error may show the text, which contains a password
        url = None
    if url is None or url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigError(
            "database.url is not the URL of a PostgreSQL server.",
            "postgresql://user:password@host:port.",
            "correct it in pipeline.toml or in BAROMETER__DATABASE__URL.",
        )
    return url.set(drivername="postgresql")


def _render(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@cache
def create_missing(server: URL, names: tuple[str, ...], analyst_password: str | None) -> None:
    """Create the databases and, with a password, the analyst's role: once per process, and safely in several."""
    try:
        with _connect(server, server.database or "postgres") as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            made = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in names:
                if name not in made:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            if analyst_password is not None:
                _make_analyst(connection, server, names, analyst_password)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"The PostgreSQL server {server.host}:{server.port or 5432} does not answer: {error}",
            "a connection.",
            "check database.url (address, user, password) and that the server is up, then try again.",
        ) from None
    except psycopg.Error as error:
        raise ConfigError(
            f"The user {server.username} of database.url cannot create the databases: {error}",
            f"a user who may create databases, or the databases {', '.join(names)}.",
            "ask the server's administrator to grant CREATEDB or to create these databases.",
        ) from None


def _connect(server: URL, database: str) -> psycopg.Connection:
    return psycopg.connect(_render(server.set(database=database)), autocommit=True, **CONNECTING)


def _make_analyst(connection: psycopg.Connection, server: URL, names: tuple[str, ...], password: str) -> None:
    """Create the role that can read the warehouse's public tables and views, future ones included, and nothing else."""
    role = sql.Identifier(ANALYST)
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ANALYST]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
    connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role))
    for name in names:
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(names[0]), role))
    with _connect(server, names[0]) as warehouse:
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {}",
        ):
            warehouse.execute(sql.SQL(statement).format(role))
