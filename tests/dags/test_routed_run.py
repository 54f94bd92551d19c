"""Whole runs with a challenger: an A/B week and a week with a shadow, and both again after everything has changed."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.models.bundle import ARRAYS_FILE
from pipeline.models.mlflow_client import mlflow_client
from pipeline.models.registry import bundle_of, champion
from pipeline.models.routing import CHALLENGER, is_challengers
from pipeline.training.register import register
from tests.dags.weeks import AS_OF, digest, rows
from tests.tiny_model import evaluated_as_of, tiny_bundle

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")
AB_WEEK, SHADOW_WEEK, BROKEN_WEEK = (AS_OF.plus(-n) for n in (5, 3, 2))


@pytest.fixture(scope="module")
def challengers(installation, weekly, tmp_path_factory):
    """Two versions beside the champion; no version has the alias afterwards."""
    folder = tmp_path_factory.mktemp("bundle") / "model"
    tiny_bundle(folder)
    made = [register(installation, *evaluated_as_of(installation, folder, AS_OF, name)).version for name in "ab"]
    yield made
    mlflow_client(installation).delete_registered_model_alias(installation.model.name, CHALLENGER)


@pytest.fixture
def routed(installation, weekly, monkeypatch):
    """Run a week with a challenger, under this configuration."""

    def run(week, challenger: str, mode: str, model: str = "current", **routing: Any):
        mlflow_client(installation).set_registered_model_alias(installation.model.name, CHALLENGER, challenger)
        for name, value in {"mode": mode, **routing}.items():
            monkeypatch.setenv(f"BAROMETER__ROUTING__{name.upper()}", str(value))
        return weekly(week=str(week), model=model)

    return run


def shadow_digest(installation, week) -> tuple[int, str]:
    """Of the week's shadow scores, apart from the run's id."""
    query = """
        SELECT count(*), md5(string_agg((to_jsonb(s) - 'run_id')::text, '' ORDER BY customer_id, product_id))
        FROM shadow_predictions AS s WHERE week = :week
    """
    return tuple(rows(installation, query, week=week.monday)[0])


def test_an_ab_week_is_split_by_customer_and_repeated_as_it_was(installation, routed, challengers):
    first, second = challengers
    run = routed(AB_WEEK, first, "ab", fraction=0.4, salt="spring")
    assert (run.model_version, run.predicted) == (champion(installation), 100)
    assert run.trained_after_cutoff
    query = "SELECT customer_id, role, model_version FROM predictions WHERE week = :week"
    served = rows(installation, query, week=AB_WEEK.monday)
    drawn = is_challengers(pa.array([row.customer_id for row in served]), 0.4, "spring")
    assert 20 < drawn.sum() < 60
    assert [(row.role, row.model_version) for row in served] == [
        (CHALLENGER, first) if is_theirs else ("champion", run.model_version) for is_theirs in drawn
    ]
    flagged = "SELECT DISTINCT trained_after_cutoff FROM weekly_satisfaction_by_product WHERE week = :week"
    assert rows(installation, flagged, week=AB_WEEK.monday) == [(True,)]
    page = (installation.site / f"reports/{AB_WEEK}.html").read_text()
    assert f"A/B test: version {first}, the challenger, served {drawn.sum()} of 100 subjects" in page
    assert "two model versions made its predictions" in page

    before = digest(installation, AB_WEEK)
    again = routed(AB_WEEK, second, "ab", "auto", fraction=0.9, salt="summer")
    assert again.run_id != run.run_id
    assert digest(installation, AB_WEEK) == before
    assert {**again.routing, "reason": ""} == {**run.routing, "reason": ""}
    routed(AB_WEEK, second, "ab", fraction=0.9, salt="summer")
    assert digest(installation, AB_WEEK) != before


def test_a_week_with_a_shadow_serves_the_champions_numbers_and_is_repeated_as_it_was(
    installation, weekly, routed, challengers
):
    weekly(week=str(SHADOW_WEEK), model="current")
    alone = digest(installation, SHADOW_WEEK)
    assert shadow_digest(installation, SHADOW_WEEK) == (0, None)
    first, second = challengers
    run = routed(SHADOW_WEEK, first, "shadow")
    assert digest(installation, SHADOW_WEEK) == alone
    before = shadow_digest(installation, SHADOW_WEEK)
    assert before[0] == run.predicted == 100
    versions = "SELECT DISTINCT model_version FROM shadow_predictions WHERE week = :week"
    assert rows(installation, versions, week=SHADOW_WEEK.monday) == [(first,)]
    counted = "SELECT sum(subjects) FROM weekly_satisfaction_by_product WHERE week = :week"
    assert rows(installation, counted, week=SHADOW_WEEK.monday) == [(100,)]
    page = (installation.site / f"reports/{SHADOW_WEEK}.html").read_text()
    assert f"Shadow: version {first}, the challenger, also scored every subject" in page

    routed(SHADOW_WEEK, second, "off", "auto")
    assert shadow_digest(installation, SHADOW_WEEK) == before
    assert digest(installation, SHADOW_WEEK) == alone


def test_a_challenger_that_was_tampered_with_costs_the_week_its_shadow_only(installation, routed, challengers):
    folder, _ = bundle_of(installation, challengers[1])
    content = (folder / ARRAYS_FILE).read_bytes()
    (folder / ARRAYS_FILE).write_bytes(content[:-1] + b"!")
    try:
        run = routed(BROKEN_WEEK, challengers[1], "shadow")
    finally:
        (folder / ARRAYS_FILE).write_bytes(content)
    assert (run.state, run.predicted) == ("published", 100)
    assert shadow_digest(installation, BROKEN_WEEK)[0] == 0
    (warning,) = [result for result in run.validation if result["suite"] == "shadow"]
    assert (warning["status"], warning["severity"]) == ("failed", "warning")
    assert f"The challenger, version {challengers[1]}, cannot score" in warning["observed"]
    page = (installation.site / f"reports/{BROKEN_WEEK}.html").read_text()
    assert f"Shadow: version {challengers[1]}, the challenger, could not score the week" in page
