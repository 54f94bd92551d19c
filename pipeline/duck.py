"""DuckDB connections with bounded memory, and quoting for SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pipeline.settings import Settings


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
        con.execute("SET memory_limit = ?", [settings.resources.duckdb_memory])
        con.execute("SET threads = ?", [settings.resources.duckdb_threads])
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


def parquet(*files: Path) -> str:
    """Return a table expression for existing Parquet files; a folder named `x=1` does not become a column."""
    return f"read_parquet([{', '.join(map(literal, files))}], hive_partitioning = false)"


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"
