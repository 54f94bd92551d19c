"""A process that kills itself just before a commit, so that a test meets every state between two steps."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

from sqlalchemy import Connection, Engine, event

from pipeline.settings import Settings

WRITING = re.compile(r"\s*(INSERT|UPDATE|DELETE)")


def killed_everywhere(work: Callable[[Settings], Any], settings: Settings) -> Iterator[int]:
    """Run `work` in a process killed before its first commit of a change, then before its second…, until it survives.

    Yields after each death; the caller puts everything back before it goes on.
    """
    context = get_context("forkserver")  # a fork of this process would share its connections
    context.set_forkserver_preload(["mlflow", "tests.promotion.deaths", "pipeline.promotion.rollback"])
    commits = 0
    while True:
        child = context.Process(target=_die, args=(commits, work, settings))
        child.start()
        child.join(120)
        if child.exitcode == 0:
            return
        assert child.exitcode == -signal.SIGKILL
        yield commits
        commits += 1


def _die(commits: int, work: Callable[[Settings], Any], settings: Settings) -> None:
    spared = iter(range(commits))

    def note_changes(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if WRITING.match(statement):
            connection.info["has_changes"] = True

    def before_commit(connection: Connection) -> None:
        if connection.info.pop("has_changes", False) and next(spared, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", note_changes)
    event.listen(Engine, "commit", before_commit)
    work(settings)
