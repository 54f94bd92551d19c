"""Champion and challenger compared: on the weeks they shared, by the labels known by then."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ModelError
from pipeline.models.evaluation_metrics import differences, metrics, unpaired_differences
from pipeline.models.predictions import PREDICTIONS_SCHEMA, SHADOW_SCHEMA
from pipeline.models.routing import is_challengers
from pipeline.promotion.comparison import Comparison, compare
from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Checked, Plan
from pipeline.weekly.publish import publish
from pipeline.weeks import Week
from tests.company import FIRST_WEEK
from tests.handmade import prediction_of
from tests.weeks_of_runs import plan_of

CUSTOMERS = [f"c{number:04d}" for number in range(100)]
WEEKS = [FIRST_WEEK.plus(n) for n in range(4)]
LAST = FIRST_WEEK.plus(9)
NOW = datetime(2026, 11, 16, tzinfo=UTC)
Scores = Callable[[Week], list[float]]


@pytest.fixture(scope="module")
def answers(company: Path) -> dict[tuple[str, str], int]:
    lines = (company / "landing/answers.jsonl").read_text().splitlines()
    return {(a["about_week"], a["customer_id"]): int(a["answer"] >= 4) for a in map(json.loads, lines)}


@pytest.fixture
def knowing(answers) -> Scores:
    """Scores that are nearly right."""
    return lambda week: [
        0.2 + 0.6 * answers[str(week), customer] + noise(week, customer, 0.4) for customer in CUSTOMERS
    ]


def guessing(week: Week) -> list[float]:
    return [0.5 + noise(week, customer, 0.9) for customer in CUSTOMERS]


def noise(week: Week, customer: str, width: float) -> float:
    return float(np.random.default_rng([week.monday.toordinal(), int(customer[1:])]).uniform(-width / 2, width / 2))


def publish_routed(
    settings: Settings, week: Week, mode: str, champion: list[float], challenger: list[float], *, versions: str = "12"
) -> None:
    """Publish a week with a challenger, which has half of the customers or the shadow."""
    run_id = runs.open_run(settings, week=week, airflow_run_id=f"{week} {mode} {versions}")
    beside = {"model_version": versions[1], "bundle_digest": "", "trained_after_cutoff": False}
    routing = {"mode": mode, "fraction": 0.5, "salt": "", "challenger": beside, "reason": "as configured"}
    runs.update_run(settings, run_id, model_version=versions[0], subjects=len(CUSTOMERS), routing=routing)
    plan = plan_of(settings, run_id)
    is_theirs = is_challengers(pa.array(CUSTOMERS), 0.5, "") if mode == "ab" else [False] * len(CUSTOMERS)
    rows = [
        row_of(plan, n, (champion, challenger)[int(own)][n], ("champion", "challenger")[int(own)], versions[int(own)])
        for n, own in enumerate(is_theirs)
    ]
    shadow = (
        [row_of(plan, n, challenger[n], "", versions[1]) for n in range(len(CUSTOMERS))] if mode == "shadow" else []
    )
    files = [written(plan, "served", rows, PREDICTIONS_SCHEMA)]
    in_shadow = [written(plan, "shadow", shadow, SHADOW_SCHEMA)] if shadow else []
    checked = Checked(
        files=files, shadow_files=in_shadow, predicted=len(rows), quarantined=0, expectations=0, warnings=0
    )
    publish(settings, plan, checked)


def row_of(plan: Plan, number: int, satisfaction: float, role: str, version: str) -> dict[str, object]:
    return prediction_of(plan, CUSTOMERS[number], f"p{number % 3}", satisfaction, role=role, model_version=version)


def written(plan: Plan, name: str, rows: list[dict[str, object]], schema: pa.Schema) -> Path:
    path = plan.folder / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def compared(settings: Settings, **options) -> Comparison:
    return compare(settings, now=NOW, **options)


def test_in_the_shadow_both_are_measured_on_the_same_rows(warehouse_settings, answers, knowing) -> None:
    for week in WEEKS[:2]:
        publish_routed(warehouse_settings, week, "shadow", guessing(week), knowing(week))
    found = compared(warehouse_settings)
    (trial,) = found.trials
    assert (found.champion, found.challenger, trial.mode) == ("1", "2", "shadow")
    assert trial.weeks == found.matured == [str(week) for week in WEEKS[:2]]
    assert found.cutoff == LAST.cutoff(warehouse_settings.zone), "the company's data ends there"
    assert (trial.champion.predictions, trial.champion.labels) == (200, 200)
    assert (trial.challenger.predictions, trial.challenger.labels) == (200, 200)
    labels, first, second = (
        np.concatenate([np.array(scores(week)) for week in WEEKS[:2]])
        for scores in (lambda week: [answers[str(week), c] for c in CUSTOMERS], guessing, knowing)
    )
    for side, scores in ((trial.champion, first), (trial.challenger, second)):
        expected = metrics(labels, scores)
        assert {name: e.value for name, e in side.metrics.items()} == pytest.approx(
            {n: expected[n] for n in side.metrics}
        )
    expected = differences(labels, first, second, np.tile(np.arange(100), 2), seed=warehouse_settings.model.seed)
    assert trial.differences["roc_auc"] == expected["roc_auc"]
    assert (
        trial.verdict
        == "Version 2 is better in ROC AUC, PR AUC, log loss, Brier score than version 1, by more than chance."
    )
    assert compared(warehouse_settings) == found


def test_in_an_ab_test_each_is_measured_on_its_own_customers(warehouse_settings, answers, knowing) -> None:
    for week in WEEKS:
        publish_routed(warehouse_settings, week, "ab", knowing(week), guessing(week))
    (trial,) = compared(warehouse_settings).trials
    theirs = is_challengers(pa.array(CUSTOMERS), 0.5, "")
    assert trial.challenger.labels == trial.challenger.predictions == 4 * theirs.sum()
    assert trial.champion.labels == trial.champion.predictions == 4 * (~theirs).sum()
    sides = [
        (
            np.concatenate([np.array([answers[str(week), c] for c in CUSTOMERS])[own] for week in WEEKS]),
            np.concatenate([np.array(scores(week))[own] for week in WEEKS]),
            np.tile(np.flatnonzero(own), 4),
        )
        for own, scores in ((~theirs, knowing), (theirs, guessing))
    ]
    expected = unpaired_differences(*sides, seed=warehouse_settings.model.seed)
    assert trial.differences == {name: expected[name] for name in trial.differences}
    assert "calibration_error" not in trial.differences
    assert trial.verdict.startswith("Version 2 is worse in ROC AUC")


def test_two_that_are_alike_differ_by_chance_only(warehouse_settings, knowing) -> None:
    for week in WEEKS[:2]:
        publish_routed(warehouse_settings, week, "shadow", knowing(week), [0.001 + score for score in knowing(week)])
    for week in WEEKS[2:]:
        publish_routed(warehouse_settings, week, "ab", knowing(week), knowing(week))
    ab, shadow = compared(warehouse_settings).trials
    assert (ab.mode, shadow.mode) == ("ab", "shadow")
    assert ab.verdict.startswith("No difference is more than chance")
    assert shadow.differences["roc_auc"].value == 0


def test_only_labels_known_by_then_count_and_too_few_are_called_so(warehouse_settings, knowing) -> None:
    """Each answer arrives nine days after its week's Monday."""
    for week in WEEKS[:2]:
        publish_routed(warehouse_settings, week, "ab", knowing(week), guessing(week))
    early = compared(warehouse_settings, as_of=WEEKS[1])
    (trial,) = early.trials
    assert (early.matured, trial.champion.labels + trial.challenger.labels) == ([str(WEEKS[0])], 100)
    publish_routed(warehouse_settings, LAST, "ab", knowing(WEEKS[0]), guessing(WEEKS[0]))
    too_early = compared(warehouse_settings, as_of=WEEKS[0])
    (trial,) = too_early.trials
    assert (trial.champion.labels, trial.challenger.labels, trial.champion.metrics, trial.differences) == (0, 0, {}, {})
    assert trial.verdict.startswith("Too few labels yet: a side has 0 of one answer, and at least 10 are needed")


def test_a_pair_is_compared_on_its_own_weeks_only(warehouse_settings, knowing) -> None:
    for week, versions in zip(WEEKS, ("12", "32", "34", "34"), strict=True):
        publish_routed(warehouse_settings, week, "shadow", guessing(week), knowing(week), versions=versions)
    pairs = {
        challenger: (found.champion, found.challenger, found.trials[0].weeks)
        for challenger in (None, "2", "4")
        if (found := compared(warehouse_settings, challenger=challenger))
    }
    assert pairs == {
        None: ("3", "4", [str(WEEKS[2]), str(WEEKS[3])]),
        "2": ("3", "2", [str(WEEKS[1])]),
        "4": ("3", "4", [str(WEEKS[2]), str(WEEKS[3])]),
    }
    with pytest.raises(ModelError, match="has version 9 as challenger"):
        compared(warehouse_settings, challenger="9")


def test_without_a_week_of_both_the_way_to_one_is_named(warehouse_settings, knowing) -> None:
    publish_routed(warehouse_settings, WEEKS[0], "shadow", knowing(WEEKS[0]), guessing(WEEKS[0]))
    plan = plan_of(warehouse_settings, runs.open_run(warehouse_settings, week=WEEKS[0], airflow_run_id="without"))
    runs.update_run(
        warehouse_settings, plan.run_id, subjects=1, routing={"mode": "shadow", "challenger": {"model_version": "2"}}
    )
    file = written(plan, "served", [row_of(plan, 0, 0.5, "champion", "1")], PREDICTIONS_SCHEMA)
    publish(warehouse_settings, plan, Checked(files=[file], predicted=1, quarantined=0, expectations=0, warnings=1))
    with pytest.raises(ModelError, match="has a challenger") as refused:
        compared(warehouse_settings)
    assert "promote VERSION --as challenger" in refused.value.do
