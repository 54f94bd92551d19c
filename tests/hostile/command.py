"""The command `barometer`, called again and again in one process of its own, where Airflow is imported once.

What a person would see is what that process writes to its standard output and standard error. The entry point is
`Command`.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Self

from tests.hostile.powers import without_powers


@dataclass(frozen=True)
class Said:
    """How a call of the command ended."""

    code: int
    output: str
    """What a person saw: standard output and standard error."""
    seconds: float
    peak_mib: float


class Command:
    """`barometer` in a process of its own, which ends with the `with` block."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, dict(environ)))

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.send(None)
        self._process.join()

    def __call__(self, *arguments: str, environ: Mapping[str, str] | None = None, powerless: bool = False) -> Said:
        """Call `barometer` with these arguments; if `powerless`, as a user whom file permissions bind."""
        self._connection.send((arguments, dict(environ or {}), powerless))
        answer: Said = self._connection.recv()
        return answer


def _serve(connection: Connection, environ: dict[str, str]) -> None:
    os.environ.update(environ)
    with tempfile.TemporaryFile() as seen:
        os.dup2(seen.fileno(), 1)
        os.dup2(seen.fileno(), 2)
        from pipeline.cli import main
        from pipeline.orchestration.resource_use import measured

        while (call := connection.recv()) is not None:
            arguments, more, powerless = call
            os.truncate(seen.fileno(), 0)
            os.lseek(seen.fileno(), 0, os.SEEK_SET)
            with _environment(more), without_powers(powerless), measured() as use:
                code = _exit_code(main, arguments)
            output = os.pread(seen.fileno(), 1 << 20, 0).decode()
            connection.send(Said(code, output, use.seconds, use.peak_mib))


def _exit_code(main: Any, arguments: tuple[str, ...]) -> int:
    try:
        main(arguments, prog_name="barometer")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]
