"""Finding and ending the processes of a home's services."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from pipeline.local.services.processes import family, marked, marking, stop
from pipeline.settings import Settings

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start a Python program that carries the mark; return once it has printed that it is ready."""
    started: list[subprocess.Popen[str]] = []

    def run(program: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        environment = {**os.environ, **(marking(settings.home) if environment is None else environment)}
        command = [sys.executable, "-c", program]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); import time; time.sleep(600)"
TITLED = f"import setproctitle; setproctitle.setproctitle('another title ' * 100); {SLEEP}"


def test_marked_processes_are_found_and_no_others(settings, start):
    mine = start(SLEEP)
    start(SLEEP, {})
    start(SLEEP, {"BAROMETER_SERVICES": "another home"})
    assert [process.pid for process in marked(settings.home)] == [mine.pid]


def test_a_process_that_changed_its_title_is_still_found(settings, start):
    mine = start(TITLED)
    assert [process.pid for process in marked(settings.home)] == [mine.pid]


def test_children_are_found_and_ended_even_when_nobody_ends_them(settings, start):
    start(PARENT)
    assert len(marked(settings.home)) == 2
    stop(marked(settings.home), grace_seconds=0.5)
    assert marked(settings.home) == []


def test_who_does_not_listen_is_killed(settings, start):
    deaf = start(DEAF)
    stop(marked(settings.home), grace_seconds=0.5)
    assert not psutil.pid_exists(deaf.pid) or deaf.wait() != 0
    assert marked(settings.home) == []


def test_a_process_that_has_ended_is_no_trouble(settings, start):
    popen = start(SLEEP)
    (process,) = marked(settings.home)
    popen.kill()
    popen.wait()
    assert family(popen.pid) == []
    stop([process])
