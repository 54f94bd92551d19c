"""A source without times, and features that read it: the one leak that no view can prevent."""

import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.errors import ModelError
from pipeline.models import registry
from pipeline.promotion.gate import gate
from pipeline.settings import Settings
from pipeline.training.collect import collect
from pipeline.training.evaluate import evaluate
from pipeline.training.fit import fit
from pipeline.training.handoffs import Registered
from pipeline.training.register import register
from pipeline.training.training_plan import plan_training
from pipeline.training.tune import tune
from tests.company import FIRST_WEEK, company_settings

LAST_WEEK = FIRST_WEEK.plus(9)
UNTIMED = {"event_time": None}
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
def settings(company: Path, tmp_path: Path, server_url: str) -> Settings:
    """Settings of a company whose source of answers has times."""
    folder = shutil.copytree(company, tmp_path / "leaking & co")
    return company_settings(
        folder, tmp_path / "home", DATABASE__URL=server_url, DATABASE__PREFIX=f"t{uuid4().hex[:12]}"
    )


@pytest.fixture
def leaking(settings: Settings) -> Settings:
    """The same company, but its answers have no times, and its features read the answer to be predicted."""
    features = (
        shutil.copytree(settings.features_sql.parent, settings.config_file.parent / "leaking sql") / "features.sql"
    )
    text = features.read_text()
    assert COUNTED in text
    features.write_text(text.replace(COUNTED, COUNTED + ANSWER))
    return settings.model_copy(
        update={
            "sources": settings.sources | {"answers": settings.sources["answers"].model_copy(update=UNTIMED)},
            "paths": settings.paths.model_copy(update={"features_sql": "leaking sql/features.sql"}),
        }
    )


def test_a_version_that_was_trained_on_the_answer_is_refused(settings: Settings, leaking: Settings) -> None:
    assert trained(settings).is_champion
    candidate = trained(leaking)
    assert not candidate.is_champion
    words = r"leak: .*the feature opinion alone has a ROC AUC of (1\.0000|0\.99\d\d).*: it has probably seen the answer"
    with pytest.raises(ModelError, match=words):
        gate(
            leaking, version=candidate.version, role="champion", from_week=None, reason=None, asked_by="somebody",
            airflow_run_id=None,
        )  # fmt: skip
    assert registry.champion(leaking) == "1"


def test_not_even_the_first_version_comes_into_force_when_it_was_trained_on_the_answer(leaking: Settings) -> None:
    first = trained(leaking)
    assert (first.version, first.is_champion, first.from_week) == ("1", False, None)
    assert "the feature opinion alone has a ROC AUC of" in first.reason
    assert registry.champion(leaking) is None
