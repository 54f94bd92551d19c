"""SIGKILL anywhere in a stage, then a retry, converges to the undisturbed results."""

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch_jobs.completion import complete_job
from pipeline.batch_jobs.file_rows import read_rows
from pipeline.batch_jobs.row_scoring import score_shard
from pipeline.batch_jobs.row_validation import validate_rows
from tests.batch_jobs.conftest import GOOD, csv_of, through
from tests.batch_jobs.test_stages import some_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
FORKS = get_context("fork")


def tried_again(stage: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """Run the stage in children that are killed before their first, second, … file is complete; then run it here.

    Returns what it hands on, and how often it was killed.
    """
    for whole in range(100):
        child = FORKS.Process(target=_die, args=(whole, stage, *arguments))
        child.start()
        child.join(60)
        if child.exitcode == 0:
            return stage(*arguments), whole
        assert child.exitcode == -signal.SIGKILL
    raise AssertionError("it does not end")


def _die(whole: int, stage: Callable[..., Any], *arguments: Any) -> None:
    spared: Iterator[int] = iter(range(whole))
    replace = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        if next(spared, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = replaced  # type: ignore[method-assign]
    stage(*arguments)


def test_every_stage_killed_and_tried_again_gives_the_undisturbed_results(settings, planned):
    content = csv_of([*some_rows(95), {**GOOD, "amount": "a lot"}, {**GOOD, "amount": -1}, GOOD])
    undisturbed = through(settings, planned(content, "csv"))
    plan = planned(content, "csv", job_id="killed")
    rows, in_read = tried_again(read_rows, settings, plan)
    validated, in_validate = tried_again(validate_rows, settings, plan, rows)
    parts = [tried_again(score_shard, settings, plan, rows, validated, shard) for shard in range(rows.shards)]
    ended, in_finish = tried_again(complete_job, settings, plan, rows, validated, [part for part, _ in parts])
    assert (in_read, in_validate, [deaths for _, deaths in parts], in_finish) == (4, 1, [1, 1, 1], 3)
    for name in ("results", "rejects"):
        assert getattr(ended, name).read_bytes() == getattr(undisturbed.scored, name).read_bytes()
    assert ended.model_dump(exclude=PLACES) == undisturbed.scored.model_dump(exclude=PLACES)


PLACES = {"results", "rejects", "finished_at"}
