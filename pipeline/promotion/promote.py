"""Promote: move the alias to a version that the gate let pass, or put on record that a person said no.

The last task of `train_model`, and the second half of `barometer promote`. Entry points: `promote`, `reject`.
"""

from sqlalchemy import Connection

from pipeline.errors import ModelError
from pipeline.handoffs import Approved, Gated, Promoted
from pipeline.models import history, registry
from pipeline.models.history import Entry
from pipeline.promotion.gate_checks import files
from pipeline.settings import Settings
from pipeline.weeks import Week


def promote(settings: Settings, gated: Gated, approved: Approved) -> Promoted:
    """Give the version its role; killed at any point and tried again, it ends the same.

    Two promotions take turns. What the gate compared the version to must still be the champion.

    Raises
    ------
    ModelError
        If something has changed since the gate: the champion, the version's files, its being withdrawn.
    """
    with history.turn(settings) as connection:
        with connection.begin():
            entry = history.entry(connection, gated.promotion_id)
        if entry.state != "completed":
            _check_still_holds(settings, entry)
            entry = history.carry_out(
                settings, connection, _commented(connection, entry, approved), decided_by=approved.decided_by
            )
        if entry.role == registry.CHAMPION:
            _end_challenge(settings, connection, entry)
    return Promoted(
        promotion_id=entry.promotion_id,
        version=gated.version,
        role=entry.role,
        from_week=str(Week(entry.from_week)),
        from_version=entry.from_version,
    )


def reject(settings: Settings, gated: Gated, *, decided_by: str, comment: str) -> None:
    """Put on record that the promotion was not approved."""
    with history.turn(settings) as connection, connection.begin():
        entry = history.entry(connection, gated.promotion_id)
        reason = _with_comment(entry.reason, "rejected", comment)
        history.change(connection, entry, state="rejected", promoted_by=decided_by, reason=reason)


def _check_still_holds(settings: Settings, entry: Entry) -> None:
    version = str(entry.to_version)
    intact = files(settings, version)
    found = None
    if entry.state in {"refused", "rejected"}:
        found = f"Its promotion was {entry.state}"
    elif registry.withdrawn(settings, version):
        found = "It has been withdrawn"
    elif not intact.passed:
        found = intact.words
    elif entry.role == registry.CHAMPION and registry.with_alias(settings, registry.CHAMPION) != entry.from_version:
        current = registry.with_alias(settings, registry.CHAMPION)
        found = f"The champion is version {current} now; the gate compared it to version {entry.from_version}"
    if found:
        raise ModelError(
            f"Version {version} passed the gate, but cannot be promoted any more. {found}.",
            "everything to be as the gate saw it.",
            f"ask for it again: barometer promote {version}.",
        )


def _commented(connection: Connection, entry: Entry, approved: Approved) -> Entry:
    if not approved.comment:
        return entry
    with connection.begin():
        return history.change(connection, entry, reason=_with_comment(entry.reason, "approved", approved.comment))


def _with_comment(reason: str, decision: str, comment: str) -> str:
    return f"{reason}; {decision}: {comment}" if comment else reason


def _end_challenge(settings: Settings, connection: Connection, promoted: Entry) -> None:
    """Take the alias of challenger from the new champion."""
    if registry.with_alias(settings, registry.CHALLENGER) != promoted.to_version:
        return
    with connection.begin():
        ended = history.ask(
            connection,
            kind="promotion",
            from_week=Week(promoted.from_week),
            from_version=promoted.to_version,
            to_version=None,
            asked_by=promoted.promoted_by,
            reason="became the champion",
            role="challenger",
            state="begun",
        )
    history.carry_out(settings, connection, ended, decided_by=promoted.promoted_by)
