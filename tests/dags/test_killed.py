"""Invariant 8 for task processes: SIGKILL in any stage, then a retry, converges to the undisturbed result."""

import functools
import os
import signal
import time
from multiprocessing import get_context
from typing import Any

import pytest

from pipeline.warehouse import runs
from tests.dags.weeks import WEEK, digest, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:The `airflow")
FRACTIONS = (0.3, 0.7)
"""Where in a stage it is killed, beside its very end."""


def test_every_stage_killed_and_tried_again_gives_the_undisturbed_rows(installation, weekly, monkeypatch):
    from pipeline.orchestration import airflow_adapter

    undisturbed = weekly()
    before = digest(installation, WEEK)
    imported = airflow_adapter.resolve_name
    killed: list[str] = []

    def imported_and_killed(name: str) -> Any:
        stage = imported(name)

        @functools.wraps(stage)
        def killed_then_tried_again(*args: Any, **kwargs: Any) -> Any:
            kill(stage, args, kwargs)
            killed.append(stage.__name__)
            return stage(*args, **kwargs)

        return killed_then_tried_again

    monkeypatch.setattr(airflow_adapter, "resolve_name", imported_and_killed)
    record = weekly(rebuild=True)

    assert set(killed) == set(undisturbed.stage_seconds)
    assert record.run_id != undisturbed.run_id
    assert digest(installation, WEEK) == before
    assert (record.predicted, record.quarantined) == (undisturbed.predicted, undisturbed.quarantined) == (99, 1)
    kept = "SELECT (SELECT count(*) FROM quarantine WHERE run_id = :id), (SELECT count(*) FROM rejects)"
    assert tuple(rows(installation, kept, id=record.run_id)[0]) == (1, 1)
    query = "SELECT state, count(*) FROM prediction_runs WHERE airflow_run_id = :id GROUP BY state"
    states = {row.state: row.count for row in rows(installation, query, id=record.airflow_run_id)}
    assert set(states) == {"abandoned", "published"}  # the plan that was killed had opened a run already
    assert states["published"] == 1
    assert runs.published_run(installation, WEEK) == record


def kill(stage: Any, args: Any, kwargs: Any) -> None:
    """Run the stage in a child that is killed just before it could say that it is done, then at some points before."""

    def run_and_die() -> None:
        stage(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    seconds = 0.0
    for fraction in (None, *FRACTIONS):
        child = get_context("fork").Process(target=run_and_die)
        started = time.monotonic()
        child.start()
        child.join(60 if fraction is None else fraction * seconds)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        seconds = seconds or time.monotonic() - started
