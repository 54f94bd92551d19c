"""The supervisor restarts a component that ends, and stops everything if a component keeps ending."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.local.services import supervisor
from pipeline.local.services.components import Component
from pipeline.orchestration import service_lock
from pipeline.settings import Settings
from tests.waiting import until

LIVES = [sys.executable, "-c", "import time; time.sleep(600)"]
DIES = [sys.executable, "-c", "print('I cannot live'); raise SystemExit(3)"]


@pytest.fixture
def lock(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    (settings.home / "logs").mkdir(parents=True)
    monkeypatch.setattr(supervisor, "CHECK_SECONDS", 0.05)
    descriptor = service_lock.take_for_services(settings)
    assert descriptor is not None
    return descriptor


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that the supervisor has started until now; they are ended after the test."""
    found: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(start(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    yield found
    for process in found:
        process.kill()
        process.wait()


def test_what_dies_is_started_again(settings, lock, started, monkeypatch):
    monkeypatch.setattr(supervisor, "components", lambda _: [Component("sleeper", LIVES)])
    stopping = threading.Event()
    healthy: list[bool] = []
    thread = threading.Thread(target=lambda: healthy.append(supervisor.keep_running(settings, lock, stopping)))
    thread.start()
    try:
        until(lambda: started)
        started[0].kill()
        until(lambda: len(started) > 1)
        os.close(lock)
        assert service_lock.services_are_up(settings)  # as long as a component lives
    finally:
        stopping.set()
        thread.join()
    assert healthy == [True]


def test_what_cannot_live_ends_everything_and_leaves_its_words(settings, lock, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "components", lambda _: [Component("mayfly", DIES)])
    assert not supervisor.keep_running(settings, lock, threading.Event())
    assert "mayfly cannot be kept running" in caplog.text
    assert (settings.home / "logs/mayfly.log").read_text().count("I cannot live") == supervisor.QUICK_DEATHS
