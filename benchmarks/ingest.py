"""Reading a CSV feed of six columns: into the home, every line accounted for, against DuckDB's bare `read_csv`.

    python -m benchmarks.ingest [ROWS]

DuckDB gets the same declared types, the same two threads, and writes Parquet too; it knows neither lines nor rejects,
and takes what it cannot read as an error. Each side runs in a process of its own and prints its seconds (wall and CPU,
after the imports) and its peak memory. A third process makes a snapshot from the feed: a subject for every two rows.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from pipeline.duck import connection, literal
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week

WEEK = Week.parse("2026-12-28")
COLUMNS = {
    "customer_id": "text",
    "product_id": "text",
    "happened_at": "timestamp",
    "amount": "decimal(12,2)",
    "kind": "text",
    "note": "text",
}
DUCKDB_TYPES = {"text": "VARCHAR", "timestamp": "TIMESTAMPTZ"}

Measured = tuple[float, float, float]
"""Seconds of wall time, seconds of CPU, peak memory in MiB."""


def main(rows: int) -> None:
    """Write a feed of `rows` rows, read it both ways, and print the cost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_feed(folder, rows)
        sides: dict[str, Callable[[Path], None]] = {"duckdb": bare_read, "ingest": ingest, "snapshot": snapshot}
        measured = {side: _alone(work, folder) for side, work in sides.items()}
    for side, (seconds, cpu_seconds, peak_mib) in measured.items():
        print(
            f"{side:10} {seconds:6.2f} s  {cpu_seconds:6.2f} s CPU  {rows / seconds:12,.0f} rows/s  {peak_mib:6.0f} MiB"
        )
    (wall, cpu, _), (bare_wall, bare_cpu, _) = measured["ingest"], measured["duckdb"]
    print(f"ingest takes {wall / bare_wall:.2f} times as long as bare DuckDB ({cpu / bare_cpu:.2f} times the CPU)")


def ingest(folder: Path) -> None:
    """Read the feed as the weekly run does."""
    read_sources(_settings(folder), WEEK)


def bare_read(folder: Path) -> None:
    """Read the feed with DuckDB alone."""
    types = ", ".join(f"{literal(name)}: {literal(DUCKDB_TYPES.get(kind, kind))}" for name, kind in COLUMNS.items())
    with connection(_settings(folder)) as con:
        con.execute(
            f"COPY (FROM read_csv({literal(folder / 'landing/feed.csv')}, header = true, columns = {{{types}}})) "
            f"TO {literal(folder / 'bare.parquet')} (FORMAT parquet, COMPRESSION zstd)"
        )


def snapshot(folder: Path) -> None:
    """Make the features of the feed as it has been ingested."""
    settings = _settings(folder)
    build_snapshot(settings, WEEK, read_sources(settings, WEEK), folder / "snapshot")


def _alone(work: Callable[[Path], None], folder: Path) -> Measured:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, work, folder).result()


def _measured(work: Callable[[Path], None], folder: Path) -> Measured:
    import pyarrow.csv  # noqa: F401 (its import is not what is measured)

    started, cpu_started = time.perf_counter(), time.process_time()
    work(folder)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write_feed(folder: Path, rows: int) -> None:
    (folder / "landing").mkdir()
    with (folder / "landing/feed.csv").open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        for row in range(rows):
            time_ = f"2026-{1 + row % 12:02d}-{1 + row % 28:02d} {4 + row % 20:02d}:{row % 60:02d}:{row * 7 % 60:02d}"
            key = f"c{row // 2 % 1_000_000:08d},p{row // 2 % 7}"
            file.write(f"{key},{time_},{row * 37 % 10_000 / 100:.2f},{'abc'[row % 3]},note number {row}\n")
    averages = ", ".join(f"sum(amount) FILTER (WHERE kind = 'a') + {n} AS number_{n}" for n in range(16))
    (folder / "features.sql").write_text(
        f"SELECT customer_id, product_id, count(*) AS events, max(kind) AS kind, {averages} FROM feed GROUP BY ALL"
    )
    columns = "\n".join(f'{name} = "{kind}"' for name, kind in COLUMNS.items())
    (folder / "pipeline.toml").write_text(
        'timezone = "Europe/Berlin"\n[paths]\nlanding = "landing"\nfeatures_sql = "features.sql"\n'
        f'[sources.feed]\npath = "feed.csv"\nevent_time = "happened_at"\n[sources.feed.columns]\n{columns}\n'
    )


def _settings(folder: Path) -> Settings:
    environ = {"BAROMETER_CONFIG": str(folder / "pipeline.toml"), "BAROMETER_HOME": str(folder / "home")}
    return load_settings(environ)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
