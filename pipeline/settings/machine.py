"""What this process may use of its machine: cores and memory, within the limits of its cgroup (version 2).

The defaults of `[resources]` come from here. Entry points: `cores` and `duckdb_memory`.
"""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
TASKS = 4
"""The number of tasks that Airflow runs at once, as `parallelism` in airflow.cfg."""
LEAST_MEGABYTES, MOST_MEGABYTES = 500, 1200
"""With the most, a process stays below 2 GiB: it also holds a part of a shard and Great Expectations."""


def cores() -> int:
    """Return the number of cores, at least 1."""
    quotas = [int(quota) / int(period) for quota, period in map(str.split, _limits("cpu.max")) if quota != "max"]
    is_linux = hasattr(os, "sched_getaffinity")
    return max(1, math.ceil(min([len(os.sched_getaffinity(0)) if is_linux else os.cpu_count() or 1, *quotas])))


def duckdb_memory() -> str:
    """Return the memory that DuckDB may use, as its setting: half of the memory, divided among the tasks."""
    limits = [int(limit) for limit in _limits("memory.max") if limit != "max"]
    memory = min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *limits])
    return f"{min(max(memory // 2 // TASKS // 10**6, LEAST_MEGABYTES), MOST_MEGABYTES)}MB"


def _limits(name: str) -> list[str]:
    """Return the text of a limit in the process's cgroup and in those above it."""
    lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines() if OWN_CGROUP.exists() else []
    folders = [CGROUPS / line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    files = [above / name for folder in folders for above in (folder, *folder.parents) if above.is_relative_to(CGROUPS)]
    return [file.read_text(encoding="utf-8").strip() for file in files if file.exists()]
