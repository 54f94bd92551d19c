"""The cost of a piece of work: wall time, and the process's peak memory meanwhile."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


@dataclass
class ResourceUse:
    """Start, wall time and peak resident memory; the last two are filled in when the block ends."""

    started_at: float
    """Seconds since 1970."""
    seconds: float = 0.0
    peak_mib: float = 0.0


@contextmanager
def measured() -> Iterator[ResourceUse]:
    """Yield a `ResourceUse` that holds the block's cost when it ends, also with an error.

    On Linux a process can reset its peak, so each stage of a run in one process has its own.
    Elsewhere the peak is that of the whole process so far.
    """
    use = ResourceUse(time.time())
    try:
        CLEAR_REFS.write_text("5")  # proc_pid_clear_refs(5): reset the peak resident set size
        peak_mib = _peak_since_mib
    except OSError:
        peak_mib = _peak_ever_mib
    started = time.perf_counter()
    try:
        yield use
    finally:
        use.seconds = time.perf_counter() - started
        use.peak_mib = peak_mib()


def _peak_since_mib() -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _peak_ever_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
