"""The record of runs: numbered by week, filled by the stages, closed once."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from pipeline.errors import BarometerError, BudgetError, ConfigError, DatabaseUnavailableError
from pipeline.settings import Settings
from pipeline.warehouse import runs
from tests.company import FIRST_WEEK
from tests.warehouse.test_schema import rows


def opened(settings: Settings, airflow_run_id: str = "dag run", **facts: object) -> str:
    return runs.open_run(settings, week=FIRST_WEEK, airflow_run_id=airflow_run_id, **facts)


def record_stage(settings: Settings, run_id: str, stage: str, seconds: float, peak_mib: float, **facts: object) -> None:
    costs = {"seconds": {stage: seconds}, "peak_mib": {stage: peak_mib}}
    runs.record_stages(settings, run_id, **costs, facts=facts)


def test_runs_are_numbered_within_their_week(warehouse_settings: Settings):
    assert [opened(warehouse_settings, name) for name in "ab"] == ["2026-01-05.1", "2026-01-05.2"]
    assert runs.open_run(warehouse_settings, week=FIRST_WEEK.plus(1), airflow_run_id="a") == "2026-01-12.1"
    with ThreadPoolExecutor(6) as pool:
        more = list(pool.map(lambda name: opened(warehouse_settings, name), "cdefgh"))
    assert sorted(more) == [f"2026-01-05.{n}" for n in range(3, 9)]


def test_a_dag_run_that_begins_anew_gives_up_what_it_began(warehouse_settings: Settings):
    ended = opened(warehouse_settings)
    runs.fail_run(warehouse_settings, ended, "no")
    given_up, other = opened(warehouse_settings), opened(warehouse_settings, "another")
    latest = opened(warehouse_settings, code_version="1.0")
    states = {run_id: runs.run(warehouse_settings, run_id).state for run_id in (ended, given_up, other, latest)}
    assert states == {ended: "failed", given_up: "abandoned", other: "running", latest: "running"}
    assert runs.run(warehouse_settings, latest).code_version == "1.0"


def test_a_record_has_a_field_for_every_column(warehouse_settings: Settings):
    query = "SELECT attname FROM pg_attribute WHERE attrelid = 'prediction_runs'::regclass AND attnum > 0"
    assert [row[0] for row in rows(warehouse_settings, query)] == list(runs.RunRecord.model_fields)


def test_facts_are_kept(warehouse_settings: Settings):
    run_id = opened(warehouse_settings)
    runs.update_run(warehouse_settings, run_id, subjects=3, sources={"events": {"rows": 5}}, routing=None)
    record = runs.run(warehouse_settings, run_id)
    assert (record.subjects, record.sources, record.routing) == (3, {"events": {"rows": 5}}, None)


def test_a_retried_stage_replaces_what_it_cost_and_found(warehouse_settings: Settings):
    run_id = opened(warehouse_settings)
    for seconds in (1.5, 2.25):
        record_stage(warehouse_settings, run_id, "score", seconds, 100, validation=[{"seconds": seconds}])
    record_stage(warehouse_settings, run_id, "check", 1, 50, subjects=3)
    record = runs.run(warehouse_settings, run_id)
    assert record.stage_seconds == {"score": 2.25, "check": 1}
    assert record.stage_peak_mib == {"score": 100, "check": 50}
    assert (record.validation, record.subjects) == ([{"seconds": 2.25}], 3)


@pytest.mark.parametrize(("error", "subjects"), [(BudgetError, 3), (DatabaseUnavailableError, None), (None, None)])
def test_evidence_is_committed_only_if_an_error_stops_the_run(
    warehouse_settings: Settings, error: type[BarometerError] | None, subjects: int | None
):
    run_id = opened(warehouse_settings)
    with contextlib.suppress(BarometerError), runs.committed_before_stop(warehouse_settings, run_id, subjects=3):
        if error:
            raise error("found", "expected", "do")
    assert runs.run(warehouse_settings, run_id).subjects == subjects


def test_a_run_is_closed_once(warehouse_settings: Settings):
    held, unfinished, published = (
        opened(warehouse_settings, "a"),
        opened(warehouse_settings, "b"),
        opened(warehouse_settings, "c"),
    )
    runs.update_run(warehouse_settings, held, state="held", error="too strange", finished_at=datetime.now(UTC))
    runs.update_run(warehouse_settings, published, state="published")
    for run_id in (held, published):
        runs.fail_run(warehouse_settings, run_id, "later")
    for dag_run in "abc":
        runs.fail_unfinished(warehouse_settings, dag_run, "killed")
    closed = [runs.run(warehouse_settings, run_id) for run_id in (held, unfinished, published)]
    assert [(run.state, run.error) for run in closed] == [
        ("held", "too strange"),
        ("failed", "killed"),
        ("published", None),
    ]
    assert closed[0].finished_at >= closed[0].started_at


def test_a_run_that_failed_goes_on_when_its_task_is_cleared(warehouse_settings: Settings):
    run_id = opened(warehouse_settings)
    runs.fail_run(warehouse_settings, run_id, "the file is absent")
    runs.fail_run(warehouse_settings, run_id, "the file is broken")
    record = runs.run(warehouse_settings, run_id)
    assert (record.state, record.error) == ("failed", "the file is broken")
    record_stage(warehouse_settings, run_id, "ingest", 1, 1)
    record = runs.run(warehouse_settings, run_id)
    assert (record.state, record.error, record.finished_at) == ("running", None, None)


def test_an_unknown_run_is_refused(warehouse_settings: Settings):
    assert runs.published_run(warehouse_settings, FIRST_WEEK) is None
    with pytest.raises(ConfigError, match=r"no run '2026-01-05\.9' on record"):
        runs.run(warehouse_settings, "2026-01-05.9")
