"""The costs of a side: of each stage as its process measures them, and every process's peak memory.

CPU time is user and system time, with subprocesses that have ended and with the PostgreSQL server,
which is no subprocess. Entry points: `Meter`, inside a side's process; `watch`, outside it.
"""

import json
import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

POLL_SECONDS = 0.2
Cost = dict[str, float]
"""`wall` and `cpu` in seconds; `read` and `written`, from and to the disk, in MiB."""


class Meter:
    """Measures stages and prints their costs for `watch`."""

    def __init__(self, postmaster: psutil.Process) -> None:
        self._postmaster = postmaster
        print(json.dumps(["postmaster", postmaster.pid]), flush=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block and report its cost."""
        cost: Cost = {}
        with self.adding_to(cost):
            yield
        self.report(name, cost)

    @contextmanager
    def adding_to(self, cost: Cost) -> Iterator[None]:
        """Add what the block costs to `cost`."""
        before = self._spent()
        yield
        cost.update({name: cost.get(name, 0) + value - before[name] for name, value in self._spent().items()})

    def report(self, name: str, cost: Cost) -> None:
        """Print what a stage has cost."""
        print(json.dumps([name, cost]), flush=True)

    def _spent(self) -> dict[str, float]:
        ended = self._postmaster.cpu_times()
        cpu, counters = sum(os.times()[:4]) + ended.children_user + ended.children_system, []
        for process in [psutil.Process(), self._postmaster, *self._postmaster.children()]:
            with suppress(psutil.NoSuchProcess):
                cpu += sum(process.cpu_times()[:2]) if process.pid != os.getpid() else 0
                counters.append(process.io_counters())
        read, written = (sum(getattr(each, kind) for each in counters) for kind in ("read_bytes", "write_bytes"))
        return {"wall": time.perf_counter(), "cpu": cpu, "read": read / 2**20, "written": written / 2**20}


def watch(command: list[str], log: Path, show: Callable[[str, Cost], None]) -> tuple[int, dict[str, Cost], Cost]:
    """Run a side and `show` each stage as it ends.

    Returns its exit code, the costs of its stages, and the peak resident memory in MiB of the
    largest process of each name.
    """
    stages: dict[str, Cost] = {}
    peaks: Cost = defaultdict(float)
    with log.open("ab") as errors:
        side = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    roots = [psutil.Process(side.pid)]
    threading.Thread(target=_note_peaks, args=(side, roots, peaks), daemon=True).start()
    assert side.stdout
    try:
        for line in side.stdout:
            with suppress(ValueError, TypeError):  # libraries print too
                name, value = json.loads(line)
                if name == "postmaster":
                    roots.append(psutil.Process(value))
                else:
                    stages[name] = value
                    show(name, value)
    finally:
        exit_code = side.wait()
    return exit_code, stages, peaks


def _note_peaks(side: "subprocess.Popen[str]", roots: list[psutil.Process], peaks: Cost) -> None:
    while side.poll() is None:
        for root in roots:
            with suppress(psutil.Error, OSError, IndexError):  # a process has ended
                for process in [root, *root.children(recursive=True)]:
                    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                    peak_kib = int(status.split("VmHWM:")[1].split()[0])
                    peaks[process.name()] = max(peaks[process.name()], peak_kib / 1024)
        time.sleep(POLL_SECONDS)


def evict(folder: Path) -> None:
    """Drop the files below `folder` from the page cache."""
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())  # only what is on the disk can be dropped
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
