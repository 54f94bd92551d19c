"""Plan, the first stage of a training: pin the cutoff and the weeks. The entry point is `plan_training`."""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.files import sha256_of_text
from pipeline.settings import Settings
from pipeline.training.handoffs import TrainingPlan
from pipeline.training.pipelines.own_pipeline import admit
from pipeline.weeks import Week, resolve_week


def plan_training(
    settings: Settings, *, as_of: Week | None, airflow_run_id: str, pipeline: Path | None = None
) -> TrainingPlan:
    """Return what a training will do, after checking and copying a team's own `pipeline`.

    It is as of the end of the week `as_of`, by default of the last complete week. The DAG run decides its id.

    Raises
    ------
    WeekError
        If the week is not complete yet.
    ConfigError, ModelError
        If the team's own pipeline cannot be read or is not accepted.
    """
    as_of = resolve_week(str(as_of) if as_of else None, None, datetime.now(UTC), settings.zone)
    training_id = f"{as_of}-{sha256_of_text(airflow_run_id)[:12]}"
    folder = settings.home / "training" / training_id
    last = as_of.plus(-settings.model.maturity_weeks)
    return TrainingPlan(
        training_id=training_id,
        as_of=str(as_of),
        cutoff=as_of.cutoff(settings.zone),
        weeks=[str(last.plus(-back)) for back in reversed(range(settings.model.training_weeks))],
        folder=folder,
        pipeline=admit(pipeline, folder / "own") if pipeline else None,
    )
