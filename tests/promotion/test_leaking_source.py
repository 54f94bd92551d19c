"""A source without times, and features that read it: the one leak that no view can prevent."""

import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.models import registry
from pipeline.settings import Settings
from pipeline.training.collect import collect
from pipeline.training.evaluate import evaluate
from pipeline.training.fit import fit
from pipeline.training.handoffs import Registered
from pipeline.training.register import register
from pipeline.training.training_plan import plan_training
from pipeline.training.tune import tune
from tests.company import FIRST_WEEK, company_settings, own_database

LAST_WEEK = FIRST_WEEK.plus(9)
COUNTED = "    count(*) AS events,\n"
ANSWER = """    max((SELECT max(a.answer) FROM answers AS a
         WHERE a.customer_id = events.customer_id AND a.about_week = CAST($week_start AS DATE))) AS opinion,
"""


def trained(settings: Settings) -> Registered:
    plan = plan_training(settings, as_of=LAST_WEEK, airflow_run_id=uuid4().hex)
    training_set = collect(settings, plan)
    fitted = fit(settings, plan, training_set, tune(settings, plan, training_set))
    return register(settings, plan, evaluate(settings, plan, training_set, fitted))


@pytest.fixture
def leaking(company: Path, tmp_path: Path, server_url: str) -> Settings:
    """A company whose answers have no times, and whose features read the answer to be predicted."""
    folder = shutil.copytree(company, tmp_path / "leaking & co")
    text = (folder / "sql/features.sql").read_text()
    assert COUNTED in text
    (folder / "sql/features.sql").write_text(text.replace(COUNTED, COUNTED + ANSWER))
    database = own_database(server_url)
    settings = company_settings(folder, tmp_path / "home", **database)
    untimed = settings.sources["answers"].model_copy(update={"event_time": None})
    return settings.model_copy(update={"sources": settings.sources | {"answers": untimed}})


def test_not_even_the_first_version_comes_into_force_when_it_was_trained_on_the_answer(leaking: Settings) -> None:
    first = trained(leaking)
    assert (first.version, first.is_champion, first.from_week) == ("1", False, None)
    assert "the feature opinion alone has a ROC AUC of" in first.reason
    assert registry.champion(leaking) is None
