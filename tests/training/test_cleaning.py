"""Cleaning: no row trains that the weekly run would keep out, and the counts of all rows and labels add up."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.manifests import TrainingSetManifest, WeekCleaning
from pipeline.settings import Settings
from pipeline.training.collect import collect
from pipeline.training.training_plan import plan_training
from tests.company import FEATURES_SQL, FIRST_WEEK, LABELS_SQL, company_settings

AS_OF = FIRST_WEEK.plus(4)
FLAWED = FIRST_WEEK.plus(2)
"""The week with a flawed feed and flawed answers."""


@pytest.fixture(scope="module")
def collected(company: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, TrainingSetManifest, Path]:
    folder = Path(shutil.copytree(company, tmp_path_factory.mktemp("flawed") / "company"))
    with (folder / "landing" / f"events-{FLAWED}.csv").open("a") as events:
        for line in ("c0001,p1", "c0002,p2", "c0003,p0"):
            events.write(f"{line},{FLAWED} 12:00:00,20000.00,a\n")  # the suite allows 10,000
        events.write(f"c0004,p1,{FLAWED} 12:00:00,a lot,a\n")  # rejected
    answers = [json.loads(line) for line in (folder / "landing" / "answers.jsonl").read_text().splitlines()]
    about = [answer for answer in answers if answer["about_week"] == str(FLAWED)]
    about[1]["customer_id"] = "c9999"  # c0001 has no answer, and nobody knows c9999
    about[5]["answer"] = None
    about[6]["answered_at"] = f"{AS_OF.plus(1)}T00:00:00"
    (folder / "landing" / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    (folder / "sql/labels.sql").write_text(
        LABELS_SQL.replace("answer >= 4", "CASE WHEN answer > 0 THEN answer >= 4 END")
    )
    twice = (
        f"UNION ALL SELECT 'c0007', 'p1', 1, 5, 'a', true, 'again' WHERE DATE '{FLAWED}' = CAST($week_start AS DATE)"
    )
    (folder / "sql/features.sql").write_text(FEATURES_SQL + twice)
    settings = company_settings(folder, tmp_path_factory.mktemp("home"), MODEL__MATURITY_WEEKS="1")
    training_set = collect(settings, plan_training(settings, as_of=AS_OF, airflow_run_id="manual__1"))
    return settings, TrainingSetManifest.read(training_set.manifest), training_set.manifest.parent


@pytest.fixture(scope="module")
def flawed(collected: tuple[Settings, TrainingSetManifest, Path]) -> WeekCleaning:
    return next(week for week in collected[1].cleaning if week.week == str(FLAWED))


def test_rows_that_the_weekly_run_would_quarantine_do_not_train(collected, flawed: WeekCleaning):
    rows = pq.read_table(collected[2] / f"{FLAWED}.parquet")
    kept_out = {"c0001", "c0002", "c0003", "c0007"}
    assert kept_out.isdisjoint(rows["customer_id"].to_pylist())
    assert flawed.quarantined == {
        "expect_column_values_to_be_between on amount": 3,
        "subject_is_there_once on customer_id, product_id": 2,
    }
    assert flawed.quarantined_rows == 5


def test_every_row_of_the_features_is_accounted_for(flawed: WeekCleaning):
    assert flawed.feature_rows == 101
    assert flawed.unlabelled_rows == 2, "c0005 has no answer, c0006's came too late"
    assert flawed.rows == 94
    assert flawed.feature_rows == flawed.quarantined_rows + flawed.unlabelled_rows + flawed.rows


def test_every_label_is_accounted_for(collected, flawed: WeekCleaning):
    assert flawed.labels == 98
    assert (flawed.labels_without_row, flawed.labels_of_quarantined) == (1, 3)
    manifest = collected[1]
    for week in manifest.cleaning:
        assert week.labels == week.labels_without_row + week.labels_of_quarantined + week.rows
    counts = manifest.labels
    assert counts.unanswered == 1
    assert counts.returned == counts.unanswered + counts.later + counts.known
    assert counts.known == sum(week.labels for week in manifest.cleaning), "all that is known by then is of these weeks"


def test_the_rows_of_the_weeks_are_those_of_the_training_set(collected):
    manifest = collected[1]
    assert [week.rows for week in manifest.cleaning if week.rows] == [week.rows for week in manifest.weeks]


def test_rejected_lines_are_counted_once_for_all_weeks(collected):
    events = collected[1].sources["events"]
    assert events.rejects == 1
    assert len(events.files) == len({file.digest for file in events.files}) == 5


def test_a_week_that_the_weekly_run_would_have_stopped_is_named(company: Path, tmp_path: Path):
    folder = Path(shutil.copytree(company, tmp_path / "company"))
    suite = folder / "expectations/features.json"
    content = json.loads(suite.read_text())
    few = {"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 5}, "severity": "critical"}
    suite.write_text(json.dumps({**content, "expectations": [*content["expectations"], few]}))
    settings = company_settings(folder, tmp_path / "home", MODEL__TRAINING_WEEKS="1")
    training_set = collect(settings, plan_training(settings, as_of=AS_OF, airflow_run_id="manual__1"))
    (week,) = TrainingSetManifest.read(training_set.manifest).cleaning
    assert week.failures == ["expect_table_row_count_to_be_between: 100"]
    assert week.rows == 100
