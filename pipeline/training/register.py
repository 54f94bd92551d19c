"""Register, the last stage of a training: a sealed bundle becomes a version in MLflow's registry.

A version comes into force from the week of its training cutoff where none was in force by then: the first one, and one
trained as of an earlier week than any before. It becomes champion where there is none. No gate stands before that, as
there is nothing to compare with; but a version that has probably seen the answer stays out. Entry point: `register`.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pipeline.handoffs import Evaluated, Registered, TrainingPlan
from pipeline.models import history, registry
from pipeline.models.bundle import Bundle, open_intact
from pipeline.models.mlflow_client import mlflow_client
from pipeline.settings import Settings
from pipeline.training.evaluation.feature_auc import suspects
from pipeline.training.evaluation.measures import EVALUATION_FILE
from pipeline.training.search.trials import TRIALS_FILE, Trials, log_trials
from pipeline.weeks import Week

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(settings: Settings, plan: TrainingPlan, evaluated: Evaluated) -> Registered:
    """Put the bundle into the registry and, where no version is in force yet, into force.

    Called again after it was killed at any point, it goes on where it stopped: a bundle is registered once.

    Raises
    ------
    ModelError
        If the bundle is not what evaluate sealed.
    """
    bundle = open_intact(evaluated.bundle, evaluated.bundle_digest)
    client = mlflow_client(settings)
    week = Week.parse(plan.as_of)
    suspected = _suspected(settings, evaluated, bundle)
    with history.turn(settings) as connection:
        version = _registered_before(settings, client, evaluated) or _create(settings, client, plan, evaluated, bundle)
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


def _suspected(settings: Settings, evaluated: Evaluated, bundle: Bundle) -> list[str]:
    features = json.loads(bundle.read(evaluated.bundle, EVALUATION_FILE))["feature_auc"]
    return suspects(settings.promotion.suspicious_auc, evaluated.metrics["roc_auc"], features)


def _registered_before(settings: Settings, client: "MlflowClient", evaluated: Evaluated) -> str | None:
    found = client.search_model_versions(
        f"name = '{settings.model.name}' AND tags.`{registry.DIGEST_TAG}` = '{evaluated.bundle_digest}'"
    )
    return str(found[0].version) if found else None


def _create(
    settings: Settings, client: "MlflowClient", plan: TrainingPlan, evaluated: Evaluated, bundle: Bundle
) -> str:
    """Log the training as a run of the experiment, copy the bundle to MLflow's artifacts, create the version."""
    name = settings.model.name
    run_id = _logged_run(settings, client, plan, bundle)
    if TRIALS_FILE in bundle.files:
        trials = Trials.model_validate_json(bundle.read(evaluated.bundle, TRIALS_FILE))
        log_trials(client, _experiment(settings, client), run_id, trials)
    model = client.create_logged_model(_experiment(settings, client), name=name, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(evaluated.bundle))
    client.finalize_logged_model(model.model_id, "READY")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    folder = _artifacts(settings) / "models" / model.model_id / "artifacts"
    tags = {
        registry.BUNDLE_TAG: folder.relative_to(settings.home).as_posix(),
        registry.DIGEST_TAG: evaluated.bundle_digest,
        registry.TRAINING_TAG: plan.training_id,
    }
    made = client.create_model_version(name, source=f"models:/{model.model_id}", run_id=run_id, tags=tags)
    client.set_terminated(run_id)
    return str(made.version)


def _artifacts(settings: Settings) -> Path:
    return settings.home / "mlflow"


def _experiment(settings: Settings, client: "MlflowClient") -> str:
    found = client.get_experiment_by_name(settings.model.name)
    if found is not None:
        return str(found.experiment_id)
    return client.create_experiment(settings.model.name, artifact_location=_artifacts(settings).as_uri())


def _logged_run(settings: Settings, client: "MlflowClient", plan: TrainingPlan, bundle: Bundle) -> str:
    from mlflow.entities import Metric, Param

    run = client.create_run(
        _experiment(settings, client), run_name=plan.training_id, tags={registry.TRAINING_TAG: plan.training_id}
    )
    facts = {
        **bundle.parameters,
        "training_cutoff": bundle.training.cutoff.isoformat(),
        "training_rows": bundle.training.rows,
        "training_set_digest": bundle.training.digest,
        "code_version": bundle.code_version,
    }
    logged_at = int(time.time() * 1000)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, logged_at, 0) for name, value in bundle.metrics.items()],
        params=[Param(name, str(value)) for name, value in facts.items()],
    )
    return str(run.info.run_id)


def _put_into_force(settings: Settings, connection: Connection, week: Week, version: str) -> None:
    """Make the version champion if there is none; else put it in force from `week` on if none is by then."""
    made: dict[str, Any] = {"from_week": week, "from_version": None, "to_version": version, "asked_by": "training"}
    if registry.champion(settings) is None:
        with connection.begin():
            begun = history.ask(connection, kind="training", reason="first champion", state="begun", **made)
        history.carry_out(settings, connection, begun, decided_by="training")
        return
    with connection.begin():
        if registry.in_force(connection, week) is None:
            reason = f"trained as of {week}; none was in force"
            history.ask(connection, kind="as of", reason=reason, state="completed", **made)


def _reason(week: Week, suspected: list[str], *, is_in_force: bool, is_champion: bool) -> str:
    if suspected:
        return f"registered as a candidate: {'; '.join(suspected)}, so it has probably seen the answer"
    if is_champion:
        return f"the champion, in force from the week {week} on"
    if is_in_force:
        return f"in force from the week {week} on, until a later promotion"
    return "registered as a candidate: another version is in force"
