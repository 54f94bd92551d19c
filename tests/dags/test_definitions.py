"""The DAG files: what they define, read the way Airflow reads them."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest

from pipeline.errors import BudgetError, DatabaseUnavailableError
from pipeline.promotion.handoffs import Approved
from pipeline.settings import ROOT, Settings


@pytest.fixture(scope="module")
def dags(installation: Settings) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    return dict(bag.dags)


def stages(dags: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any], type]]:
    """Every stage's task with its arguments and the function it calls."""
    from pipeline.orchestration.airflow_adapter import Stage

    for dag in dags.values():
        for task in dag.tasks:
            if not (task.is_mapped or isinstance(task, Stage)):
                continue
            arguments = task.partial_kwargs if task.is_mapped else vars(task)
            module, name = arguments["function"].split(":")
            yield task, arguments, getattr(import_module(module), name)


def test_exactly_these_dags_exist(dags):
    assert set(dags) == {"weekly_predictions", "train_model", "score_file"}


@pytest.mark.parametrize(
    ("dag", "order"),
    [
        ("weekly_predictions", "plan ingest validate_sources features validate_features score check publish report"),
        ("score_file", "plan read validate score finish"),
    ],
)
def test_a_dag_is_one_chain_in_the_data_s_way(dags, dag, order):
    assert [task.task_id for task in dags[dag].topological_sort()] == order.split()
    for before, after in pairwise(order.split()):
        assert after in dags[dag].get_task(before).downstream_task_ids


def test_every_dag_and_every_task_tells_operators_what_it_does_and_what_to_do_when_it_fails(dags):
    for dag in dags.values():
        assert "When a run fails" in dag.doc_md
        assert dag.tags
        assert dag.dagrun_timeout
        assert dag.on_failure_callback or dag.dag_id in {"train_model", "score_file"}
        for task in dag.tasks:
            assert "**If it fails:**" in task.doc_md, task
            assert task.task_display_name != task.task_id
            assert task.owner != "airflow"
            assert task.execution_timeout or task.response_timeout


def test_every_stage_gets_what_it_takes_from_the_task_that_makes_it(dags):
    makes = {(task.dag_id, task.task_id): get_type_hints(function)["return"] for task, _, function in stages(dags)}
    makes["train_model", "approve"] = Approved  # no stage, but an operator of Airflow's
    for task, arguments, function in stages(dags):
        takes = {name: kind for name, kind in get_type_hints(function).items() if name not in {"settings", "return"}}
        given = {name: makes[task.dag_id, x.operator.task_id] for name, x in arguments["inputs"].items()}
        given = {name: Sequence[kind] if name == "scored" else kind for name, kind in given.items()}
        given |= {name: takes[name] for name in arguments.get("arguments", {})}
        given |= {"shard": int} if task.is_mapped else {}
        assert given == takes, task


def test_params_have_a_schema(dags):
    params = {name: dags["weekly_predictions"].params.get_param(name) for name in ("week", "model", "rebuild")}
    types = {name: param.schema["type"] for name, param in params.items()}
    assert types == {"week": ["null", "string"], "model": "string", "rebuild": "boolean"}
    assert all(param.schema["title"] and param.description for param in params.values())


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("week", [None, "2026-03-02"], ["2.3.2026", ""]),
        ("model", ["auto", "current", "12"], ["latest", "0", ""]),
        ("rebuild", [True, False], ["yes"]),
    ],
)
def test_params_refuse_what_no_stage_understands(dags, name, good, bad):
    from airflow.sdk.exceptions import ParamValidationError

    param = dags["weekly_predictions"].params.get_param(name)
    for value in good:
        assert param.resolve(value) == value
    for value in bad:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


def test_a_run_starts_at_its_week_s_cutoff_and_is_named_by_its_monday(dags, installation):
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    timetable = coerce_to_core_timetable(dags["weekly_predictions"].timetable)
    restriction = TimeRestriction(earliest=datetime(2026, 3, 23, 12, tzinfo=UTC), latest=None, catchup=True)
    run = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    # the week of the change to summer time in Europe/Berlin: it begins at 22:00 UTC
    assert run.logical_date == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert run.run_after == datetime(2026, 4, 5, 22, tzinfo=UTC)
    assert not dags["weekly_predictions"].catchup


def test_only_what_a_retry_can_mend_is_retried(dags):
    from airflow.sdk import RetryAction

    from pipeline.orchestration.airflow_adapter import Refused, RefusedForGood

    words = {"found": "a", "expected": "b", "do": "c"}
    for dag in dags.values():
        for task in dag.tasks:
            assert task.retries > 0
            refused = task.retry_policy.evaluate(RefusedForGood(BudgetError(**words)), 1, task.retries)
            assert refused.action == RetryAction.FAIL
            away = task.retry_policy.evaluate(Refused(DatabaseUnavailableError(**words)), 1, task.retries)
            assert away.action == RetryAction.DEFAULT


@pytest.mark.parametrize(
    ("dag", "plan", "path"),
    [
        ("weekly_predictions", {"week": "2026-03-02", "run_id": "1"}, "reports/2026-03-02.html"),
        ("train_model", {"training_id": "2026-03-02-ab"}, "training/2026-03-02-ab.html"),
    ],
)
def test_the_report_is_linked_beside_its_task(dags, dag: str, plan: dict[str, str], path: str):
    task = dags[dag].get_task("report")
    (link,) = task.operator_extra_links
    address = link.get_link(SimpleNamespace(inputs={"plan": plan}), ti_key=None)
    assert address.endswith(f"/{path}")


def test_parsing_imports_no_heavy_library_and_connects_to_nothing(installation):
    program = f"""
import runpy, socket, sys
def refuse(*args): raise AssertionError("a connection while parsing")
socket.socket.connect = refuse
for name in ("weekly_predictions", "train_model", "score_file"):
    runpy.run_path("{ROOT}/dags/" + name + ".py")
heavy = {{"pandas", "duckdb", "great_expectations", "mlflow", "sklearn", "onnxruntime", "pyarrow", "numpy"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
