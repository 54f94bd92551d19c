"""Waiting for an event instead of a fixed time. The entry point is `until`."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Return as soon as the condition is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.005)
