"""A training's plan: the cutoff and the matured weeks."""

from datetime import UTC, datetime

import pytest

from pipeline.errors import WeekError
from pipeline.settings import Settings
from pipeline.training.training_plan import plan_training
from pipeline.weeks import Week


def test_the_weeks_end_where_labels_have_had_their_time(settings: Settings) -> None:
    plan = plan_training(settings, as_of=Week.parse("2026-03-09"), airflow_run_id="manual__1")
    assert plan.cutoff == datetime(2026, 3, 15, 23, tzinfo=UTC)
    assert plan.weeks == ["2026-01-26", "2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2026-03-02"]
    assert plan.folder == settings.home / "training" / plan.training_id


def test_a_retried_task_plans_the_same_and_another_run_another(settings: Settings) -> None:
    week = Week.parse("2026-03-09")
    plan = plan_training(settings, as_of=week, airflow_run_id="manual__1")
    assert plan_training(settings, as_of=week, airflow_run_id="manual__1") == plan
    assert plan_training(settings, as_of=week, airflow_run_id="manual__2").folder != plan.folder


def test_without_a_week_it_is_the_last_complete_one_and_a_later_one_is_refused(settings: Settings) -> None:
    last_complete = Week.last_complete(datetime.now(UTC), settings.zone)
    assert plan_training(settings, as_of=None, airflow_run_id="scheduled__1").as_of == str(last_complete)
    with pytest.raises(WeekError, match="in the future"):
        plan_training(settings, as_of=last_complete.plus(1), airflow_run_id="scheduled__1")
