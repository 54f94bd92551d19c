"""A training of the test company, run once for the tests that only read its results."""

from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.settings import Settings
from pipeline.training.collect import collect
from pipeline.training.evaluate import evaluate
from pipeline.training.fit import fit
from pipeline.training.handoffs import Evaluated, Fitted, Registered, TrainingPlan, TrainingSet, Tuned
from pipeline.training.register import register
from pipeline.training.training_plan import plan_training
from pipeline.training.tune import tune
from tests.company import FIRST_WEEK, company_settings

LAST_WEEK = FIRST_WEEK.plus(9)


@dataclass(frozen=True)
class Training:
    settings: Settings
    plan: TrainingPlan
    training_set: TrainingSet
    tuned: Tuned
    fitted: Fitted
    evaluated: Evaluated
    registered: Registered


@pytest.fixture(scope="package")
def training(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Training:
    home = tmp_path_factory.mktemp("training") / "home"
    settings = company_settings(company, home, DATABASE__URL=server_url, DATABASE__PREFIX=f"t{uuid4().hex[:12]}")
    plan = plan_training(settings, as_of=LAST_WEEK, airflow_run_id="manual__1")
    training_set = collect(settings, plan)
    tuned = tune(settings, plan, training_set)
    fitted = fit(settings, plan, training_set, tuned)
    evaluated = evaluate(settings, plan, training_set, fitted)
    return Training(settings, plan, training_set, tuned, fitted, evaluated, register(settings, plan, evaluated))
