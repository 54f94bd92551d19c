"""What is in production, and why: every version with its role, its metrics and its history.

It is read from MLflow's tables and the warehouse, so a version with damaged files is shown too.
Entry points: `overview`, and `files_of` for what a version's own files say.
"""

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import Connection, text

from pipeline.errors import ModelError
from pipeline.models import registry, role_history
from pipeline.models.bundle import TrainingData, open_bundle
from pipeline.models.role_history import Entry, Role
from pipeline.promotion.gate_checks import check_files
from pipeline.promotion.rollback import published_weeks
from pipeline.settings import Settings
from pipeline.warehouse import transaction

WORDS = {"asked": "waits for approval", "begun": "being promoted", "abandoned": "candidate"}


class Overview(BaseModel):
    """One version of the model."""

    version: str
    state: str
    """champion, challenger, withdrawn, what it was, what it waits for, refused, rejected or candidate."""
    why: str
    """The reason for that state, in words."""
    registered_at: datetime
    from_week: str | None
    """The first week it is or was in force as champion."""
    published_weeks: list[str]
    """Weeks with published predictions by it."""
    metrics: dict[str, float]
    """On its test weeks."""
    history: list[Entry]
    """Every entry that gave it a role, took a role away, or refused it."""


class Files(BaseModel):
    """What a version's own files say."""

    intact: bool
    words: str
    folder: str
    code_version: str | None = None
    training: TrainingData | None = None
    parameters: dict[str, float | int | str] = {}


def overview(settings: Settings, version: str | None = None) -> list[Overview]:
    """Return all versions, the latest first, or only the given one."""
    role_history.repair(settings)
    if version is not None:
        registry.tags_of(settings, version)
    roles = {registry.with_alias(settings, role): role for role in reversed(role_history.ROLES)}  # champion goes first
    with transaction(settings) as connection:
        return [
            _overview(connection, known, roles.get(known.version))
            for known in registry.versions(settings)
            if version in {None, known.version}
        ]


def files_of(settings: Settings, version: str) -> Files:
    """Return what the files of a version say, or what is wrong with them."""
    try:
        folder, digest = registry.bundle_of(settings, version)
    except ModelError as error:
        return Files(intact=False, words=error.found, folder="")
    check = check_files(settings, version)
    if not check.passed:
        return Files(intact=False, words=check.words, folder=str(folder))
    bundle = open_bundle(folder, digest)
    return Files(
        intact=True,
        words=check.words,
        folder=str(folder),
        code_version=bundle.code_version,
        training=bundle.training,
        parameters=bundle.parameters,
    )


def _overview(connection: Connection, known: registry.Version, role: Role | None) -> Overview:
    concerned = role_history.entries(
        connection, "to_version = :version OR from_version = :version", version=known.version
    )
    own = [entry for entry in concerned if entry.to_version == known.version]
    in_force = [entry for entry in own if (entry.role, entry.state) == ("champion", "completed")]
    state, why = _state(connection, known.version, role, own)
    return Overview(
        version=known.version,
        state=state,
        why=why,
        registered_at=known.registered_at,
        from_week=str(min(entry.from_week for entry in in_force)) if in_force else None,
        published_weeks=[str(week) for week in published_weeks(connection, known.version)],
        metrics=known.metrics,
        history=concerned,
    )


def _state(connection: Connection, version: str, role: Role | None, own: list[Entry]) -> tuple[str, str]:
    query = text("SELECT withdrawn_by, reason FROM withdrawn_versions WHERE model_version = :version")
    withdrawn = connection.execute(query, {"version": version}).one_or_none()
    if withdrawn:
        return "withdrawn", f"by {withdrawn.withdrawn_by}: {withdrawn.reason}"
    if role:
        return role, _describe(next(e for e in reversed(own) if (e.role, e.state) == (role, "completed")))
    if not own:
        return "candidate", "registered, never promoted"
    last = own[-1]
    if last.state == "completed":
        return ("in force for past weeks" if last.kind == "as of" else f"was {last.role}"), _describe(last)
    return WORDS.get(last.state, last.state), _describe(last)


def _describe(entry: Entry) -> str:
    if entry.state == "refused":
        return "; ".join(f"{check['name']}: {check['words']}" for check in entry.checks if not check["passed"])
    return entry.reason if entry.promoted_by == "training" else f"{entry.kind} by {entry.promoted_by}: {entry.reason}"
