"""The gate: whether a registered version may become champion or challenger. Its verdict is kept in the history.

It is the first task of `train_model` after the training itself, and the first half of `barometer
promote`. The entry point is `gate`.
"""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, text

from pipeline.errors import ConservationError, ModelError
from pipeline.manifests import SnapshotManifest
from pipeline.models import registry, role_history
from pipeline.models.role_history import Role
from pipeline.promotion.gate_checks import Check, check_files, judge
from pipeline.promotion.gate_evidence import collect_evidence
from pipeline.promotion.handoffs import Gated
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.weeks import Week


def gate(
    settings: Settings,
    *,
    version: str,
    role: Role,
    from_week: Week | None,
    reason: str | None,
    asked_by: str,
    airflow_run_id: str | None,
) -> Gated:
    """Judge a version for a role and write the verdict to `model_promotions`.

    `from_week` is the first week it would be in force, by default the last complete one. `reason` and `asked_by` are
    kept in the history.

    Raises
    ------
    ModelError
        If a check fails, or the version is withdrawn, has the role already, or does not exist.
    """
    role_history.repair(settings)
    champion = registry.champion(settings)
    from_week = from_week or Week.last_complete(datetime.now(UTC), settings.zone)
    _check_eligible(settings, version, role, from_week)
    checks = _checks(settings, version, role, from_week, champion)
    failed = [check for check in checks if not check.passed]
    with transaction(settings) as connection:
        _abandon_earlier(connection, airflow_run_id)
        asked = role_history.ask(
            connection,
            kind="promotion",
            from_week=from_week,
            from_version=champion if role == "champion" else registry.with_alias(settings, role),
            to_version=version,
            asked_by=asked_by,
            reason=reason or "no reason given",
            role=role,
            state="refused" if failed else "asked",
            checks=[check.model_dump() for check in checks],
            airflow_run_id=airflow_run_id,
        )
    if failed:
        raise ModelError(
            " ".join([f"The gate refuses version {version}.", *map(_failure, failed)]),
            f"all of {', '.join(check.name for check in checks)} to pass, with the limits of [promotion].",
            f"look at the version (barometer models show {version}) and train a better one: barometer train.",
        )
    return Gated(
        promotion_id=asked.promotion_id,
        version=version,
        role=role,
        from_week=str(from_week),
        asked_by=asked_by,
        reason=asked.reason,
        checks=[f"{check.name}: {check.words}" for check in checks],
    )


def _check_eligible(settings: Settings, version: str, role: Role, from_week: Week) -> None:
    registry.bundle_of(settings, version)
    if why := registry.withdrawn(settings, version):
        raise ModelError(
            f"Version {version} was withdrawn: {why}.",
            "a version that was not withdrawn.",
            "promote another one, or train one: barometer train.",
        )
    with transaction(settings) as connection:
        is_in_force = role == "challenger" or registry.in_force(connection, from_week) == version
    if is_in_force and registry.with_alias(settings, role) == version:
        raise ModelError(
            f"Version {version} is the {role} already, also in the week {from_week}.",
            f"a version that is not the {role}.",
            "do nothing; barometer models shows what is in production.",
        )
    if role == "challenger" and registry.champion(settings) == version:
        raise ModelError(
            f"Version {version} is the champion, so it cannot be its own challenger.",
            "another version.",
            "name the version that should run beside it.",
        )


def _checks(settings: Settings, version: str, role: Role, from_week: Week, champion: str | None) -> list[Check]:
    """Return the results of all checks, or of the first ones if they leave nothing to judge."""
    intact = check_files(settings, version)
    if not intact.passed:
        return [intact]
    try:
        evidence = collect_evidence(settings, version, champion)
    except (ModelError, ConservationError) as error:
        return [intact, Check(name="test rows", passed=False, words=f"{error.found} Expected: {error.expected}")]
    judged = judge(settings, evidence, role=role, from_week=from_week, snapshot=_latest_snapshot(settings))
    return [intact, *judged]


def _latest_snapshot(settings: Settings) -> SnapshotManifest | None:
    query = """
        SELECT r.snapshot_manifest FROM published_weeks AS p JOIN prediction_runs AS r USING (run_id)
        ORDER BY p.week DESC LIMIT 1
    """
    with transaction(settings) as connection:
        manifest = connection.execute(text(query)).scalar()
    return SnapshotManifest.read(Path(manifest)) if manifest else None


def _abandon_earlier(connection: Connection, airflow_run_id: str | None) -> None:
    """Abandon what the same DAG run asked for in an earlier attempt of its task."""
    earlier = "airflow_run_id = :id AND state = 'asked'"
    for asked in role_history.entries(connection, earlier, id=airflow_run_id):
        role_history.change(connection, asked, state="abandoned", repaired="the gate was run again")


def _failure(check: Check) -> str:
    measured = "" if check.value is None else f" ({check.value:.4f}; the limit is {check.limit:.4f})"
    return f"{check.name}: {check.words}{measured}."
