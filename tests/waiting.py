"""What happens in its own time is waited for, and not for how long it takes. The one thing here is `until`."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Return as soon as it is so; fail where it never is."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.005)
