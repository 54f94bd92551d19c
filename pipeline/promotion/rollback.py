"""Rollback: withdraw the champion and put the version before it back, or take the challenger out; without a gate.

A withdrawn version scores no further week. The weeks it has published stay as they are, so that they can be traced and
replayed; the result names the commands that score them again. The entry point is `rollback`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from sqlalchemy import Connection, text

from pipeline.errors import ModelError
from pipeline.models import registry, role_history
from pipeline.models.role_history import Entry, Role
from pipeline.promotion.gate_checks import check_files
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.weeks import Week


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did."""

    entry: Entry
    weeks: list[Week]
    """The weeks with published predictions by the version."""
    commands: list[str]
    """Commands that score those weeks with the versions now in force."""


def rollback(settings: Settings, *, role: Role, to: str | None, reason: str | None, asked_by: str) -> RolledBack:
    """Take a role from the version that has it; the champion is also withdrawn and another version put back.

    `to` is the version to put back, by default the last champion before that was not withdrawn. `reason` and `asked_by`
    are kept in the history.

    Raises
    ------
    ModelError
        If no version has the role, or none can be put back.
    """
    seen, begun = _as_seen(settings, role)
    with role_history.turn(settings) as connection:
        with connection.begin():
            entry = role_history.entry(connection, begun.promotion_id) if begun else None
        if entry is None or entry.state != "completed":  # else a second one would take out the next version too
            asked = _ask(settings, connection, role, seen, to, reason=reason or "rolled back", asked_by=asked_by)
            entry = role_history.carry_out(settings, connection, asked, decided_by=asked_by)
    return RolledBack(entry, *_to_score_again(settings, str(entry.from_version)))


def _as_seen(settings: Settings, role: Role) -> tuple[str | None, Entry | None]:
    """Return the version that is meant, and an unfinished rollback, of a killed process or of another one right now."""
    unfinished = "kind = 'rollback' AND role = :role AND state = 'begun'"
    with transaction(settings) as connection:
        begun = role_history.entries(connection, unfinished, role=role)
    return registry.with_alias(settings, role), begun[-1] if begun else None


def _ask(
    settings: Settings,
    connection: Connection,
    role: Role,
    seen: str | None,
    to: str | None,
    *,
    reason: str,
    asked_by: str,
) -> Entry:
    out = registry.with_alias(settings, role)
    if out is None or out != seen:
        raise ModelError(
            f"No version is the {role}." if out is None else f"The {role} has just changed: version {out} now.",
            f"the {role} as it was when the command began: version {seen or 'none'}.",
            "look at what is in production: barometer models.",
        )
    with connection.begin():
        back = _to_put_back(settings, connection, out, to) if role == "champion" else None
        return role_history.ask(
            connection,
            kind="rollback",
            from_week=Week.last_complete(datetime.now(UTC), settings.zone),
            from_version=out,
            to_version=back,
            asked_by=asked_by,
            reason=reason,
            role=role,
            state="begun",
        )


def _to_put_back(settings: Settings, connection: Connection, out: str, to: str | None) -> str:
    query = """
        SELECT to_version FROM model_promotions
        WHERE role = 'champion' AND state = 'completed' AND to_version <> :out
            AND to_version NOT IN (SELECT model_version FROM withdrawn_versions)
        ORDER BY kind = 'as of', completed_at DESC, promotion_id DESC
    """
    before = list(connection.execute(text(query), {"out": out}).scalars())
    if not before or (to and to not in before):
        raise ModelError(
            f"Version {to} was never in force, or was withdrawn."
            if before
            else f"There is no version to put in the place of version {out}.",
            f"one that was champion before{': ' + ', '.join(dict.fromkeys(before)) if before else ''}.",
            "put another one in its place through the gate: barometer promote VERSION.",
        )
    back = to or before[0]
    intact = check_files(settings, back)
    if not intact.passed:
        raise ModelError(
            f"Version {back} cannot be put back. {intact.words}",
            "a version whose files are as they were sealed.",
            "name another one with --to, or restore its files.",
        )
    return back


def _to_score_again(settings: Settings, out: str) -> tuple[list[Week], list[str]]:
    with transaction(settings) as connection:
        weeks = published_weeks(connection, out)
        instead = {week: registry.in_force(connection, week) for week in weeks}
    current = registry.champion(settings)
    commands = [
        f"barometer backfill --from {first} --to {last} --model {version}"
        for first, last, version in _stretches({week: version or current for week, version in instead.items()})
    ]
    return weeks, commands


def published_weeks(connection: Connection, version: str) -> list[Week]:
    """Return the weeks with published predictions by the version, oldest first."""
    query = """
        SELECT p.week FROM published_weeks AS p JOIN prediction_runs AS r USING (run_id)
        WHERE r.model_version = :version
            OR (r.routing ->> 'mode' = 'ab' AND r.routing -> 'challenger' ->> 'model_version' = :version)
        ORDER BY p.week
    """
    return [Week(monday) for monday in connection.execute(text(query), {"version": version}).scalars()]


def _stretches(versions: dict[Week, str | None]) -> Iterator[tuple[Week, Week, str | None]]:
    """Yield the first week, the last week and the version of each run of successive weeks with one version.

    Examples
    --------
    >>> weeks = [Week.parse(day) for day in ("2026-03-02", "2026-03-09", "2026-03-16", "2026-03-30")]
    >>> [f"{first} {last} {version}" for first, last, version in _stretches(dict(zip(weeks, "1122")))]
    ['2026-03-02 2026-03-09 1', '2026-03-16 2026-03-16 2', '2026-03-30 2026-03-30 2']
    """
    numbered = enumerate(versions.items())
    for (version, _), items in groupby(numbered, key=lambda item: (item[1][1], item[1][0].plus(-item[0]))):
        weeks = [week for _, (week, _) in items]
        yield weeks[0], weeks[-1], version
