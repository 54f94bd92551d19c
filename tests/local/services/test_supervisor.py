"""The supervisor restarts a component that ends, and stops everything if a component keeps ending."""

import os
import sys
import threading
from contextlib import suppress

import psutil
import pytest

from pipeline.local.services import supervisor
from pipeline.local.services.components import Component
from pipeline.orchestration import service_lock
from pipeline.settings import Settings

LIVES = [sys.executable, "-c", "import time; time.sleep(600)"]
DIES = [sys.executable, "-c", "print('I cannot live'); raise SystemExit(3)"]


@pytest.fixture
def lock(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    (settings.home / "logs").mkdir(parents=True)
    monkeypatch.setattr(supervisor, "CHECK_SECONDS", 0.05)
    descriptor = service_lock.take_for_services(settings)
    assert descriptor is not None
    return descriptor


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if lives(child)]


def lives(child: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # it was just killed
        return child.status() != psutil.STATUS_ZOMBIE and LIVES[-1] in child.cmdline()
    return False


def test_what_dies_is_started_again(settings, lock, monkeypatch):
    monkeypatch.setattr(supervisor, "components", lambda _: [Component("sleeper", LIVES)])
    stopping = threading.Event()
    healthy: list[bool] = []
    thread = threading.Thread(target=lambda: healthy.append(supervisor.keep_running(settings, lock, stopping)))
    thread.start()
    try:
        first = wait_for(children)[0]
        first.kill()
        second = wait_for(lambda: [child for child in children() if child != first])[0]
        assert second.pid != first.pid
        os.close(lock)
        assert service_lock.services_are_up(settings)  # as long as a component lives
    finally:
        stopping.set()
        thread.join()
        for child in children():
            child.kill()
    assert healthy == [True]


def test_what_cannot_live_ends_everything_and_leaves_its_words(settings, lock, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "components", lambda _: [Component("mayfly", DIES)])
    assert not supervisor.keep_running(settings, lock, threading.Event())
    assert "mayfly cannot be kept running" in caplog.text
    assert (settings.home / "logs/mayfly.log").read_text().count("I cannot live") == supervisor.QUICK_DEATHS


def wait_for(found):
    waiting = threading.Event()
    for _ in range(1200):
        if result := found():
            return result
        waiting.wait(0.05)
    raise AssertionError("it did not happen in a minute")
