"""The registry: which model versions there are, which one scores a week, and where its files are.

It reads MLflow's tables by SQL, because MLflow's client takes seconds to import. The alias `champion` says which
version is current, the warehouse's `model_promotions` which one was in force when, and a version's tags where its
bundle is and which digest it must have. Entry points: `choose_model`, which a run calls once, and `champion`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, text

from pipeline import warehouse
from pipeline.errors import ModelError
from pipeline.local.postgres.databases import CONNECTING, databases
from pipeline.models.bundle import open_bundle
from pipeline.models.pinned import PinnedVersion
from pipeline.settings import Settings
from pipeline.weeks import Week

BUNDLE_TAG = "barometer.bundle"
"""A version's folder, relative to the home."""
DIGEST_TAG = "barometer.bundle_digest"
"""sha256 of the folder's `bundle.json`."""
TRAINING_TAG = "barometer.training"
"""The training that made a version: the name of its folder below `training/` in the home."""


@dataclass(frozen=True)
class Version:
    """A version in the registry."""

    version: str
    registered_at: datetime
    metrics: dict[str, float]
    """On its test weeks."""


class ModelChoice(PinnedVersion):
    """A model version, and why it was chosen."""

    model_reason: str
    is_current: bool
    """Whether it was chosen as today's champion, so today's routing applies."""


def choose_model(
    settings: Settings, *, week: Week, requested: str, published_version: str | None, now: datetime | None = None
) -> ModelChoice:
    """Return the model version that scores `week`.

    `requested` is `current` (the champion), a number (that version), or `auto`: for a published week the version that
    made it, `published_version`; for the last complete week the champion; for an earlier one the version then in force.

    Raises
    ------
    ModelError
        If there is no such version, none is in force, or its bundle fails its checks.
    """
    last_complete = Week.last_complete(now or datetime.now(UTC), settings.zone)
    is_current = False
    if requested not in {"auto", "current"}:
        version, reason = requested, "named for this run"
    elif requested == "auto" and published_version is not None:
        version, reason = published_version, "made the week's published predictions"
        if withdrawn(settings, version):  # a rerun repeats what was published; a number asks for another version
            reason += ", though it was withdrawn since"
    elif requested == "current" or week >= last_complete:
        version, reason, is_current = champion_or_refuse(settings), "the champion", True
    else:
        version, reason = _in_force_or_refuse(settings, week), f"in force in the week {week}"
    folder, digest = bundle_of(settings, version)
    return ModelChoice(
        model_version=version,
        model_reason=reason,
        bundle=folder,
        bundle_digest=digest,
        trained_after_cutoff=open_bundle(folder, digest).training.cutoff > week.cutoff(settings.zone),
        is_current=is_current,
    )


def _in_force_or_refuse(settings: Settings, week: Week) -> str:
    with warehouse.transaction(settings) as connection:
        version = in_force(connection, week)
    if version is None:
        raise ModelError(
            f"No model version was in force in the week {week}.",
            "one that was promoted for that week or an earlier one.",
            f"train one on what was known then: barometer train --as-of {week}; or run the week with"
            " model=current, whose rows then say that the model knows what came later.",
        )
    return version


def champion(settings: Settings) -> str | None:
    """Return the champion, if there is one."""
    return with_alias(settings, "champion")


def champion_or_refuse(settings: Settings) -> str:
    """Return the champion."""
    version = champion(settings)
    if version is None:
        raise ModelError(
            f"The model {settings.model.name!r} has no champion yet.",
            "a version with the alias 'champion' in the registry.",
            "train the first one: barometer train; a candidate becomes champion by barometer promote VERSION.",
        )
    reason = withdrawn(settings, version)
    if reason and champion(settings) != version:  # a rollback came between: it moves the alias first
        return champion_or_refuse(settings)
    if reason:
        raise ModelError(
            f"Version {version}, which has the alias 'champion' in MLflow, was withdrawn: {reason}.",
            "a champion that was not withdrawn.",
            "put another version in its place: barometer rollback, or barometer promote VERSION.",
        )
    return version


def challenger(settings: Settings) -> str | None:
    """Return the challenger, if there is one."""
    version = with_alias(settings, "challenger")
    return None if version is None or withdrawn(settings, version) else version


def versions(settings: Settings) -> list[Version]:
    """Return all versions, the latest first."""
    query = """
        SELECT v.version, v.creation_time, (
            SELECT json_object_agg(m.key, m.value ORDER BY m.key) FROM latest_metrics AS m WHERE m.run_uuid = v.run_id
        ) AS metrics
        FROM model_versions AS v WHERE v.name = :name AND v.current_stage <> 'Deleted_Internal' ORDER BY v.version DESC
    """
    return [
        Version(str(row.version), datetime.fromtimestamp(row.creation_time / 1000, UTC), row.metrics or {})
        for row in _registry_rows(settings, query, name=settings.model.name)
    ]


def withdrawn(settings: Settings, version: str) -> str | None:
    """Return why a version was withdrawn; None if it was not."""
    with warehouse.transaction(settings) as connection:
        query = text("SELECT reason FROM withdrawn_versions WHERE model_version = :version")
        return connection.execute(query, {"version": version}).scalar()


def in_force(connection: Connection, week: Week) -> str | None:
    """Return the version in force in `week`, according to the history of promotions.

    Of the promotions made for this week or an earlier one, the latest decides. Versions trained `as
    of` a week count only in weeks before all promotions. Withdrawn versions are skipped.
    """
    query = """
        SELECT to_version FROM model_promotions
        WHERE role = 'champion' AND state = 'completed' AND from_week <= :week
            AND to_version NOT IN (SELECT model_version FROM withdrawn_versions)
        ORDER BY kind = 'as of', CASE WHEN kind = 'as of' THEN from_week END DESC, completed_at DESC, promotion_id DESC
        LIMIT 1
    """
    return connection.execute(text(query), {"week": week.monday}).scalar()


def with_alias(settings: Settings, alias: str) -> str | None:
    """Return the version that has an alias in MLflow, if there is one."""
    query = "SELECT version FROM registered_model_aliases WHERE name = :name AND alias = :alias"
    rows = _registry_rows(settings, query, name=settings.model.name, alias=alias)
    return str(rows[0].version) if rows else None


def bundle_of(settings: Settings, version: str) -> tuple[Path, str]:
    """Return the folder and the digest that the registry holds for a version."""
    tags = tags_of(settings, version)
    if not {BUNDLE_TAG, DIGEST_TAG} <= tags.keys():
        raise ModelError(
            f"Version {version} of the model {settings.model.name!r} was not registered by Barometer.",
            f"the tags {BUNDLE_TAG} and {DIGEST_TAG}, which name its checked files.",
            "name another version, or train one: barometer train.",
        )
    return settings.home / tags[BUNDLE_TAG], tags[DIGEST_TAG]


def tags_of(settings: Settings, version: str) -> dict[str, str]:
    """Return the tags of a version."""
    query = """
        SELECT v.version, t.key, t.value FROM model_versions AS v
        LEFT JOIN model_version_tags AS t ON t.name = v.name AND t.version = v.version
        WHERE v.name = :name AND v.version::text = :version AND v.current_stage <> 'Deleted_Internal'
    """
    rows = _registry_rows(settings, query, name=settings.model.name, version=version)
    if not rows:
        raise ModelError(
            f"The model {settings.model.name!r} has no version {version!r}.",
            "auto, current, or the number of a version in the registry.",
            "name another one; barometer train makes a new one.",
        )
    return {row.key: row.value for row in rows if row.key}


def _registry_rows(settings: Settings, query: str, **parameters: Any) -> list[Any]:
    """Return the rows of a query on MLflow's tables; none if the tables do not exist yet."""
    engine = create_engine(databases(settings).mlflow, poolclass=NullPool, connect_args=CONNECTING)
    with warehouse.available(), engine.connect() as connection:
        if connection.execute(text("SELECT to_regclass('model_version_tags')")).scalar() is None:
            return []
        return list(connection.execute(text(query), parameters))
