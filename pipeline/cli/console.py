"""What the commands share: types of arguments, tables, JSON, and progress on standard error."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from pipeline.errors import BarometerError
from pipeline.orchestration.events import TaskEvent
from pipeline.weeks import Week

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


class WeekArgument(click.ParamType[Week]):
    """A week on the command line."""

    name = "week"

    def convert(self, value: str | Week, param: click.Parameter | None, ctx: click.Context | None) -> Week:
        """Return the week, or fail with a usage error."""
        if isinstance(value, Week):
            return value
        try:
            return Week.parse(value)
        except BarometerError as error:
            self.fail(str(error), param, ctx)


def to_json(value: Any, **options: Any) -> str:
    """Return a value as indented JSON; `options` are those of `json.dumps`."""
    return json.dumps(value, indent=1, **options)


def aligned(rows: list[tuple[str, Any]], indent: str = "  ") -> str:
    """Return the rows as lines, with the second cells aligned."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in rows)


class StageProgress:
    """Prints a line for each finished stage and, on a terminal, a spinner for the running one.

    `watch` receives every change of a task. The output goes to a copy of standard error, because a DAG that runs in
    this process redirects the original to a file.
    """

    def __init__(self, title: str) -> None:
        from rich.console import Console

        self._title = title
        self._console = Console(file=os.fdopen(os.dup(2), "w"), highlight=False, markup=False)
        self._status = self._console.status(title)
        self._stage = ""
        self._started = self._ended = 0.0
        self._done = 0

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._status.stop()
        self._print_stage()
        self._console.file.close()

    def watch(self, event: TaskEvent) -> None:
        """Show a change of a task."""
        if event.task != self._stage:
            self._print_stage()
            self._stage, self._started, self._done = event.task, time.monotonic(), 0
        if event.state == "success":
            self._ended, self._done = time.monotonic(), self._done + 1
        elif event.state == "up_for_retry":
            self._console.print(f"  {event.task} will be retried: {event.error or 'see its log'}", soft_wrap=True)
        elif event.state == "failed":
            self._console.print(f"  {event.task} failed")
        shards = f", {self._done} shards done" if event.shard >= 0 else ""
        self._status.update(f"{self._title}: {event.task}{shards}")

    @contextmanager
    def showing(self, logger: logging.Logger) -> Iterator[None]:
        """Show the messages of `logger` beside the running stage while the block runs."""
        handler = logging.Handler(logging.INFO)
        handler.emit = lambda record: self._status.update(f"{self._title}: {record.getMessage()}")  # type: ignore[method-assign]
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def _print_stage(self) -> None:
        """Print the line of the finished stage, which for a mapped stage is after all of its shards."""
        if self._done:
            self._console.print(f"  {self._stage:<18} {self._ended - self._started:6.1f} s")
