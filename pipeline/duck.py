"""DuckDB connections with bounded memory, and quoting for SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pipeline.settings import Settings

TASKS = 4
"""Airflow runs this many at once (`parallelism` in airflow.cfg), and they share half of the memory."""
LEAST_MEGABYTES = 500
MOST_MEGABYTES = 1200
"""With it a process, which also holds Arrow tables, stays below 2 GiB."""


@contextmanager
def connection(settings: Settings, *, readable: list[Path] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a private in-memory DuckDB with the configured limits, in the company's time zone, spilling to the home.

    With `readable`, SQL can read and write only below these folders and cannot change that: for SQL that a company
    wrote.
    """
    spill = settings.home / "tmp"
    spill.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect()
    try:
        found = con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
        con.execute("SET memory_limit = ?", [settings.resources.duckdb_memory or share_of_memory(found)])
        if settings.resources.threads:  # else the cores that DuckDB finds in the machine or the cgroup
            con.execute("SET threads = ?", [settings.resources.threads])
        con.execute("SET temp_directory = ?", [str(spill)])
        con.execute("SET GLOBAL TimeZone = ?", [settings.timezone])  # for its cursors too
        con.execute("SET enable_progress_bar = false")  # DuckDB takes some subprocesses for a terminal
        con.execute("SET autoinstall_known_extensions = false")
        con.execute("SET autoload_known_extensions = false")
        if readable is not None:
            con.execute("SET allowed_directories = ?", [[str(folder) for folder in readable]])
            con.execute("SET enable_external_access = false")
            con.execute("SET lock_configuration = true")
        yield con
    finally:
        con.close()


def share_of_memory(found: str) -> str:
    """Return a task's share of DuckDB's own limit, as 18.8 GiB, which is 0.8 of the machine's memory or the cgroup's.

    Examples
    --------
    >>> [share_of_memory(found) for found in ("409.5 MiB", "6.4 GiB", "1.2 TiB")]
    ['500MB', '1073MB', '1200MB']
    """
    amount, unit = found.split()
    memory = float(amount) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit) / 0.8
    return f"{min(max(int(memory / 2 / TASKS / 10**6), LEAST_MEGABYTES), MOST_MEGABYTES)}MB"


def parquet(*files: Path) -> str:
    """Return a table expression for existing Parquet files; a folder named `x=1` does not become a column."""
    return f"read_parquet([{', '.join(map(literal, files))}], hive_partitioning = false)"


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"
