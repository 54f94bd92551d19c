"""Plans and predictions made up for the tests of what comes after scoring."""

import hashlib

from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Checked, Plan
from pipeline.weeks import Week
from tests.handmade import make_plan, make_predictions, prediction_of


def plan_of(settings: Settings, run_id: str) -> Plan:
    """The plan of a run that is on record."""
    return make_plan(settings, run_id, model_version="1")


def scored_run(
    settings: Settings, week: Week, subjects: int = 100, shards: int = 2, airflow_run_id: str = "dag run"
) -> tuple[Plan, Checked]:
    """A run on record with all its predictions in files, ready to be published.

    The satisfaction of a subject depends on the run, so that rows of two runs can be told apart.
    """
    run_id = runs.open_run(settings, week=week, airflow_run_id=airflow_run_id)
    runs.update_run(settings, run_id, subjects=subjects)
    plan = plan_of(settings, run_id)
    rows = [_row(plan, number) for number in range(subjects)]
    parts = make_predictions(plan.folder / "predictions", [rows[shard::shards] for shard in range(shards)])
    files = [part.file for part in parts]
    return plan, Checked(files=files, predicted=subjects, quarantined=0, expectations=0, warnings=0)


def _row(plan: Plan, number: int) -> dict[str, object]:
    noise = hashlib.sha256(f"{plan.run_id} {number}".encode()).digest()
    info = f'{{"info_name": "name {number}"}}' if number % 2 else None
    return prediction_of(plan, f"c{number:06d}", f"p{number % 3}", int.from_bytes(noise[:4]) / 2**32, info=info)
