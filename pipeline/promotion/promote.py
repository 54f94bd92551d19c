"""Promote: move the alias to a version that passed the gate, or record that a person rejected it.

It is the last task of `train_model`, and the second half of `barometer promote`. Entry points: `promote`, `reject`.
"""

from sqlalchemy import Connection

from pipeline.errors import ModelError
from pipeline.models import registry, role_history
from pipeline.models.role_history import Entry
from pipeline.promotion.gate_checks import check_files
from pipeline.promotion.handoffs import Approved, Gated, Promoted
from pipeline.settings import Settings
from pipeline.weeks import Week


def promote(settings: Settings, gated: Gated, approved: Approved) -> Promoted:
    """Give the version its role. It may be killed at any point and called again.

    Promotions take turns, and the version that the gate compared with must still be the champion.

    Raises
    ------
    ModelError
        If since the gate the champion has changed, or the version was withdrawn or its files were changed.
    """
    with role_history.turn(settings) as connection:
        with connection.begin():
            entry = role_history.entry(connection, gated.promotion_id)
        if entry.state != "completed":
            _check_still_holds(settings, entry)
            reason = _reason(entry, "approved", approved.comment)
            entry = role_history.carry_out(settings, connection, entry, decided_by=approved.decided_by, reason=reason)
        if entry.role == "champion":
            _end_challenge(settings, connection, entry)
    return Promoted(
        promotion_id=entry.promotion_id,
        version=gated.version,
        role=entry.role,
        from_week=str(Week(entry.from_week)),
        from_version=entry.from_version,
    )


def reject(settings: Settings, gated: Gated, *, decided_by: str, comment: str) -> None:
    """Record that the promotion was not approved."""
    with role_history.turn(settings) as connection, connection.begin():
        entry = role_history.entry(connection, gated.promotion_id)
        reason = _reason(entry, "rejected", comment)
        role_history.change(connection, entry, state="rejected", promoted_by=decided_by, reason=reason)


def _check_still_holds(settings: Settings, entry: Entry) -> None:
    version, champion = str(entry.to_version), registry.champion(settings)
    found = None
    if entry.state in {"refused", "rejected"}:
        found = f"Its promotion was {entry.state}"
    elif registry.withdrawn(settings, version):
        found = "It has been withdrawn"
    elif not (intact := check_files(settings, version)).passed:
        found = intact.words
    elif entry.role == "champion" and champion != entry.from_version:
        found = f"The champion is version {champion} now; the gate compared it to version {entry.from_version}"
    if found:
        raise ModelError(
            f"Version {version} passed the gate, but can no longer be promoted. {found}.",
            "no change since the gate.",
            f"ask for it again: barometer promote {version}.",
        )


def _reason(entry: Entry, decision: str, comment: str) -> str:
    return f"{entry.reason}; {decision}: {comment}" if comment else entry.reason


def _end_challenge(settings: Settings, connection: Connection, promoted: Entry) -> None:
    """Take the role of challenger from the new champion, if it has it."""
    if registry.with_alias(settings, "challenger") != promoted.to_version:
        return
    with connection.begin():
        ended = role_history.ask(
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
    role_history.carry_out(settings, connection, ended, decided_by=promoted.promoted_by)
