"""The adapter, through Airflow: what a stage's end means for its task, its log and its run."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import BarometerError, BudgetError, DatabaseUnavailableError, RunError
from pipeline.orchestration.dag_runs import run_dag
from pipeline.orchestration.events import TaskEvent
from pipeline.weeks import Week

WEEK = Week.parse("2026-03-02")
NEXT_WEEK = datetime(2026, 3, 11, 12, tzinfo=UTC)


@pytest.fixture
def trial(installation, output_as_on_a_terminal):
    """Run the trial DAG; return its result, the events and the log."""
    logs = installation.home / "airflow/logs/in_process"

    def run(how: str) -> tuple[object, list[TaskEvent], str]:
        events: list[TaskEvent] = []
        before = set(logs.glob("*.log")) if logs.exists() else set()
        params = {"model": how, "week": str(WEEK)}
        try:
            with output_as_on_a_terminal():
                result = run_dag(installation, "trial", params, result_of="third", watch=events.append)
        except (BarometerError, KeyboardInterrupt) as error:
            result = error
        (log,) = set(logs.glob("*.log")) - before
        return result, events, log.read_text()

    return run


def tries(events: list[TaskEvent], task: str, shard: int) -> list[str]:
    return [event.state for event in events if (event.task, event.shard) == (task, shard) and event.state != "running"]


def test_handoffs_go_from_task_to_task_and_shards_come_together(trial):
    result, events, _ = trial("well")
    assert result == {"week": str(WEEK), "shards": [0, 1, 2]}
    ended = [(event.task, event.shard) for event in events if event.state == "success"]
    assert ended[0] == ("first", -1)
    assert set(ended[1:4]) == {("second", 0), ("second", 1), ("second", 2)}
    assert ended[4:] == [("third", -1)]


def test_no_shards_are_no_failure(trial):
    result, _, _ = trial("no shards")
    assert result == {"week": str(WEEK), "shards": []}


def test_a_refusal_is_not_retried_and_leaves_no_traceback(trial):
    result, events, log = trial("refused")
    assert isinstance(result, BudgetError)
    assert tries(events, "second", 1) == ["failed"]
    for line in ("Found: It went wrong.", "Expected: that it goes well.", "What to do: the right thing."):
        assert line in log
    assert "Traceback" not in log
    assert "trial_stages.py" not in log


def test_what_may_pass_is_retried(trial):
    result, events, log = trial("unavailable once")
    assert result == {"week": str(WEEK), "shards": [0, 1, 2]}
    assert tries(events, "second", 1) == ["up_for_retry", "success"]
    assert "Traceback" not in log


def test_retries_end(trial):
    result, events, _ = trial("unavailable")
    assert isinstance(result, DatabaseUnavailableError)
    assert tries(events, "second", 1) == ["up_for_retry", "up_for_retry", "failed"]


def test_a_defect_shows_its_traceback_in_the_log_and_names_the_log(trial):
    result, _, log = trial("defect")
    assert isinstance(result, RunError)
    assert "ZeroDivisionError: a defect" in result.found
    path = re.search(r"traceback in (\S+\.log)", result.do)
    assert path
    assert "trial_stages.py" in log


def test_an_interruption_ends_the_run_at_once(trial):
    result, events, _ = trial("interrupted")
    assert isinstance(result, KeyboardInterrupt)
    assert tries(events, "second", 1) == ["failed"]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"run_conf": {"week": str(WEEK)}}, id="param"),
        pytest.param({"logical_date": WEEK.start(ZoneInfo("Europe/Berlin"))}, id="logical date"),
        pytest.param({"logical_date": None, "run_after": NEXT_WEEK}, id="run after"),
        pytest.param({"logical_date": NEXT_WEEK, "run_after": NEXT_WEEK}, id="the present, as the UI fills it in"),
    ],
)
def test_the_week_of_a_run_is_its_param_or_its_logical_date_or_the_last_complete_one(
    installation, output_as_on_a_terminal, how
):
    with output_as_on_a_terminal():
        from pipeline.orchestration.airflow_in_process import handoff_of, load_dag

        run = load_dag("trial").test(**how)
    assert handoff_of(run.run_id, "trial", "third")["week"] == str(WEEK)
