"""Register, the sixth stage of a training: a sealed bundle becomes a version in MLflow's registry.

A version is put into force from the week it was trained as of, if no other version is in force in that week. It becomes
champion if there is none. There is no gate before that, because there is nothing to compare with. But a version that
has probably seen the answer stays a candidate. The entry point is `register`.
"""

import json
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pipeline.models import registry, role_history
from pipeline.models.bundle import Bundle, open_intact
from pipeline.models.mlflow_client import mlflow_client
from pipeline.settings import Settings
from pipeline.training.evaluation.feature_auc import find_suspects
from pipeline.training.evaluation.measures import EVALUATION_FILE
from pipeline.training.handoffs import TRIALS_FILE, Evaluated, Registered, TrainingPlan, Trials
from pipeline.weeks import Week

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(settings: Settings, plan: TrainingPlan, evaluated: Evaluated) -> Registered:
    """Put the bundle into the registry and, if no version is in force yet, into force.

    It may be killed at any point and called again: a bundle is registered once.

    Raises
    ------
    ModelError
        If a file of the bundle is not as `evaluate` sealed it.
    """
    bundle = open_intact(evaluated.bundle, evaluated.bundle_digest)
    week = Week.parse(plan.as_of)
    features = json.loads(bundle.read(evaluated.bundle, EVALUATION_FILE))["feature_auc"]
    suspected = find_suspects(settings.promotion.suspicious_auc, evaluated.metrics["roc_auc"], features)
    with role_history.turn(settings) as connection:
        found = mlflow_client(settings).search_model_versions(
            f"name = '{settings.model.name}' AND tags.`{registry.DIGEST_TAG}` = '{evaluated.bundle_digest}'"
        )
        version = str(found[0].version) if found else _create(settings, plan, evaluated, bundle)
        if not suspected:
            _put_into_force(settings, connection, week, version)
        with connection.begin():
            is_in_force = registry.in_force(connection, week) == version
    is_champion = registry.champion(settings) == version
    return Registered(
        version=version,
        is_champion=is_champion,
        from_week=str(week) if is_in_force else None,
        reason=_reason(week, suspected, is_in_force=is_in_force, is_champion=is_champion),
        metrics=evaluated.metrics,
    )


def _create(settings: Settings, plan: TrainingPlan, evaluated: Evaluated, bundle: Bundle) -> str:
    """Log the training as a run with its trials below it, copy the bundle to MLflow's artifacts, create the version."""
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = mlflow_client(settings)
    name, artifacts = settings.model.name, settings.home / "mlflow"
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name, artifact_location=artifacts.as_uri())
    facts = {
        **bundle.parameters,
        "training_cutoff": bundle.training.cutoff.isoformat(),
        "training_rows": bundle.training.rows,
        "training_set_digest": bundle.training.digest,
        "code_version": bundle.code_version,
    }
    run = client.create_run(
        experiment, run_name=plan.training_id, tags={registry.TRAINING_TAG: plan.training_id}
    ).info.run_id
    _log(client, run, facts, bundle.metrics)
    if TRIALS_FILE in bundle.files:
        trials = Trials.model_validate_json(bundle.read(evaluated.bundle, TRIALS_FILE)).trials
        for number, trial in enumerate(trials, start=1):
            nested = client.create_run(
                experiment, run_name=f"{trial.family} {number}", tags={MLFLOW_PARENT_RUN_ID: run}
            ).info.run_id
            facts = {"family": trial.family, "rung": trial.rung, "rows": trial.rows, **trial.parameters}
            _log(client, nested, facts, {"validation_roc_auc": trial.score, "seconds": trial.seconds})
            client.set_terminated(nested)
    model = client.create_logged_model(experiment, name=name, source_run_id=run)
    client.log_model_artifacts(model.model_id, str(evaluated.bundle))
    client.finalize_logged_model(model.model_id, "READY")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    folder = artifacts / "models" / model.model_id / "artifacts"
    tags = {
        registry.BUNDLE_TAG: folder.relative_to(settings.home).as_posix(),
        registry.DIGEST_TAG: evaluated.bundle_digest,
        registry.TRAINING_TAG: plan.training_id,
    }
    made = client.create_model_version(name, source=f"models:/{model.model_id}", run_id=run, tags=tags)
    client.set_terminated(run)
    return str(made.version)


def _log(client: "MlflowClient", run_id: str, parameters: dict[str, Any], metrics: dict[str, float]) -> None:
    from mlflow.entities import Metric, Param

    logged_at = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, logged_at, 0) for name, value in metrics.items()],
        params=[Param(name, str(value)) for name, value in parameters.items()],
    )


def _put_into_force(settings: Settings, connection: Connection, week: Week, version: str) -> None:
    """Make the version champion if there is none; else put it into force from `week` if none is in force then."""
    made: dict[str, Any] = {"from_week": week, "from_version": None, "to_version": version, "asked_by": "training"}
    if registry.champion(settings) is None:
        with connection.begin():
            begun = role_history.ask(connection, kind="training", reason="first champion", state="begun", **made)
        role_history.carry_out(settings, connection, begun, decided_by="training")
        return
    with connection.begin():
        if registry.in_force(connection, week) is None:
            reason = f"trained as of {week}; none was in force"
            role_history.ask(connection, kind="as of", reason=reason, state="completed", **made)


def _reason(week: Week, suspected: list[str], *, is_in_force: bool, is_champion: bool) -> str:
    if suspected:
        return f"registered as a candidate: {'; '.join(suspected)}, so it has probably seen the answer"
    if is_champion:
        return f"the champion, in force from the week {week} on"
    if is_in_force:
        return f"in force from the week {week} on, until a later promotion"
    return "registered as a candidate: another version is in force"
