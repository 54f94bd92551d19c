"""The history of champion and challenger, `model_promotions`, kept in step with the aliases in MLflow.

The aliases and the history lie in two databases, so no transaction spans both. Therefore a change is first written here
and committed, then the alias moves, then the entry is completed. The alias is the truth. After a process was killed, or
a person moved an alias in MLflow, the next process that takes its turn corrects the history, and the entry says so. A
correction never moves an alias. Entry points: `turn`, `repair`, `ask` and `carry_out`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from pipeline.handoff import Facts
from pipeline.models import registry
from pipeline.models.mlflow_client import mlflow_client
from pipeline.settings import Settings
from pipeline.warehouse import available, engine, transaction
from pipeline.weeks import Week

LOCK = 0x0BA25
"""Advisory lock for changing what is in force."""

Role = Literal["champion", "challenger"]
Kind = Literal["training", "as of", "promotion", "rollback", "by hand"]
State = Literal["asked", "refused", "rejected", "begun", "completed", "abandoned"]

ROLES: tuple[Role, ...] = ("champion", "challenger")

log = logging.getLogger(__name__)


class Entry(Facts):
    """A row of `model_promotions`; see the comments there."""

    promotion_id: int
    promoted_at: datetime
    from_week: date
    from_version: str | None
    to_version: str | None
    promoted_by: str
    reason: str
    role: Role
    kind: Kind
    state: State
    asked_by: str
    completed_at: datetime | None
    checks: list[dict[str, Any]]
    repaired: str | None
    airflow_run_id: str | None


@contextmanager
def turn(settings: Settings) -> Iterator[Connection]:
    """Yield a connection that holds the lock, outside any transaction, after making the history agree with the aliases.

    The lock ends with the connection, even if this process is killed.
    """
    with available(), engine(settings).connect() as connection:
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        with connection.begin():
            for words in _repair_entries(settings, connection):
                log.warning("The history of promotions was repaired: %s", words)
        yield connection


def repair(settings: Settings) -> None:
    """Make the history agree with the aliases."""
    with transaction(settings) as connection:
        agrees = all(_recorded(connection, role) == registry.with_alias(settings, role) for role in ROLES)
        agrees = agrees and not entries(connection, "state = 'begun'")
    if not agrees:
        with turn(settings):
            pass


def ask(
    connection: Connection,
    *,
    kind: Kind,
    from_week: Week,
    from_version: str | None,
    to_version: str | None,
    asked_by: str,
    reason: str,
    role: Role = "champion",
    state: State = "asked",
    **further: Any,
) -> Entry:
    """Write a new entry and return it; `further` are other columns."""
    row = {
        "kind": kind,
        "from_week": from_week.monday,
        "from_version": from_version,
        "to_version": to_version,
        "promoted_by": asked_by,
        "asked_by": asked_by,
        "reason": reason,
        "role": role,
        "state": state,
        "completed_at": datetime.now(UTC) if state == "completed" else None,
        **further,
    }
    values = {name: Jsonb(value) if isinstance(value, list) else value for name, value in row.items()}
    insert = f"INSERT INTO model_promotions ({', '.join(row)}) VALUES (:{', :'.join(row)}) RETURNING *"
    return Entry.model_validate(dict(connection.execute(text(insert), values).mappings().one()))


def entry(connection: Connection, promotion_id: int) -> Entry:
    """Return one entry."""
    return entries(connection, "promotion_id = :promotion_id", promotion_id=promotion_id)[0]


def entries(connection: Connection, where: str = "true", **parameters: Any) -> list[Entry]:
    """Return the entries that satisfy a condition in SQL, in the order they were made."""
    query = text(f"SELECT * FROM model_promotions WHERE {where} ORDER BY promotion_id")
    return [Entry.model_validate(dict(row)) for row in connection.execute(query, parameters).mappings()]


def carry_out(settings: Settings, connection: Connection, asked: Entry, *, decided_by: str, **columns: Any) -> Entry:
    """Move the alias as an entry says, set `columns`, and return the completed entry; `connection` holds the lock."""
    with connection.begin():
        begun = change(connection, asked, state="begun", promoted_by=decided_by, **columns)
    client = mlflow_client(settings)
    if begun.to_version is None:
        client.delete_registered_model_alias(settings.model.name, begun.role)
    else:
        client.set_registered_model_alias(settings.model.name, begun.role, begun.to_version)
    with connection.begin():
        return _complete(connection, begun)


def change(connection: Connection, this: Entry, **columns: Any) -> Entry:
    """Set columns of an entry and return it."""
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    update = text(f"UPDATE model_promotions SET {assignments} WHERE promotion_id = :promotion_id RETURNING *")
    row = connection.execute(update, {**columns, "promotion_id": this.promotion_id}).mappings().one()
    return Entry.model_validate(dict(row))


def _complete(connection: Connection, begun: Entry, **columns: Any) -> Entry:
    """Complete an entry whose alias has moved; a rollback of the champion also withdraws that version."""
    if begun.kind == "rollback" and begun.role == "champion":
        withdraw = """
            INSERT INTO withdrawn_versions (model_version, withdrawn_by, reason) VALUES (:version, :by, :reason)
            ON CONFLICT DO NOTHING
        """
        values = {"version": begun.from_version, "by": begun.promoted_by, "reason": begun.reason}
        connection.execute(text(withdraw), values)
    return change(connection, begun, state="completed", completed_at=datetime.now(UTC), **columns)


def _recorded(connection: Connection, role: Role) -> str | None:
    """Return the version that has the role according to the history."""
    query = """
        SELECT to_version FROM model_promotions WHERE role = :role AND state = 'completed' AND kind <> 'as of'
        ORDER BY completed_at DESC, promotion_id DESC LIMIT 1
    """
    return connection.execute(text(query), {"role": role}).scalar()


def _repair_entries(settings: Settings, connection: Connection) -> list[str]:
    """Close entries that a killed process left begun, enter aliases that were moved by hand; return both in words."""
    repaired: list[str] = []
    for role in ROLES:
        alias = registry.with_alias(settings, role)
        for begun in entries(connection, "role = :role AND state = 'begun'", role=role):
            if begun.to_version == alias:
                words = "the process died after the alias had moved; completed later"
                _complete(connection, begun, repaired=words)
            else:
                words = "the process died before the alias moved"
                change(connection, begun, state="abandoned", repaired=words)
            repaired.append(f"entry {begun.promotion_id}: {words}")
        recorded = _recorded(connection, role)
        if recorded != alias:
            words = f"the alias {role!r} was found on version {alias or 'none'} instead of {recorded or 'none'}"
            found = ask(
                connection,
                kind="by hand",
                from_week=Week.last_complete(datetime.now(UTC), settings.zone),
                from_version=recorded,
                to_version=alias,
                asked_by="unknown, in MLflow",
                reason="moved by hand in MLflow",
                role=role,
                state="completed",
                repaired=words,
            )
            repaired.append(f"{words} (entry {found.promotion_id})")
    return repaired
