"""Publishing a week into the embedded PostgreSQL, while readers read, against `DataFrame.to_sql`.

    python -m benchmarks.publish [ROWS]

The week is published twice. The second time a REPEATABLE READ transaction that has seen the first run stays open, and
another reader looks a subject up, again and again. `to_sql` gets a part of the rows, so that the benchmark ends.
"""

import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import psycopg

from pipeline import warehouse
from pipeline.duck import connection, literal
from pipeline.local.postgres import embedded
from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings, load_settings
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Checked, Plan
from pipeline.weekly.publish import publish
from pipeline.weeks import Week

WEEK = Week.parse("2026-11-16")
SHARDS = 8
TO_SQL_ROWS = 100_000
LOOKUP = "SELECT run_id FROM predictions WHERE week = %s AND customer_id = 'c0000000001'"


def main(rows: int) -> None:
    """Publish a week of `rows` rows twice and print the time."""
    with tempfile.TemporaryDirectory() as name:
        settings = _settings(Path(name))
        _measure(settings, rows)
        embedded.remove(settings.home)


def _measure(settings: Settings, rows: int) -> None:
    url = databases(settings).warehouse.replace("+psycopg", "")
    _timed_publish(settings, "publish, without readers", rows)
    with psycopg.connect(url) as open_reader, psycopg.connect(url, autocommit=True) as looking_up:
        open_reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = _aggregate(open_reader)
        with _Lookups(looking_up) as lookups:
            rate = _timed_publish(settings, "publish, readers read", rows)
        assert _aggregate(open_reader) == before, "the open transaction sees what it saw"
    print(f"{'lookups meanwhile':24} {len(lookups.milliseconds)}, the slowest {max(lookups.milliseconds):.0f} ms")
    started = time.perf_counter()
    with psycopg.connect(url) as reader:
        assert _aggregate(reader) != before, "a new transaction sees the new run"
    print(f"{'the week by product':24} {(time.perf_counter() - started) * 1000:6.0f} ms")
    print(f"{'peak memory':24} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MiB")
    print(f"publish takes {rate / _to_sql_rate(settings, min(rows, TO_SQL_ROWS)):.1f} times as many rows/s")


class _Lookups:
    """Look a subject up until the block ends."""

    def __init__(self, reader: psycopg.Connection) -> None:
        self.milliseconds: list[float] = []
        self._reader = reader
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            started = time.perf_counter()
            assert self._reader.execute(LOOKUP, [WEEK.monday]).fetchone() is not None, "the week is never empty"
            self.milliseconds.append((time.perf_counter() - started) * 1000)
            self._over.wait(0.005)  # a reader, not a load test

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _settings(folder: Path) -> Settings:
    config = folder / "pipeline.toml"
    config.write_text('[sources.none]\npath = "none.csv"\ncolumns = { customer_id = "text" }\n')
    return load_settings({"BAROMETER_CONFIG": str(config), "BAROMETER_HOME": str(folder / "home")})


def _timed_publish(settings: Settings, label: str, rows: int) -> float:
    plan, checked = _scored(settings, rows)
    started = time.perf_counter()
    publish(settings, plan, checked)
    seconds = time.perf_counter() - started
    print(f"{label:24} {seconds:6.2f} s  {rows / seconds:12,.0f} rows/s")
    return rows / seconds


def _scored(settings: Settings, rows: int) -> tuple[Plan, Checked]:
    """Write a run's predictions, as the scoring tasks leave them."""
    run_id = runs.open_run(settings, week=WEEK, airflow_run_id="benchmark")
    runs.update_run(settings, run_id, subjects=rows)
    folder = settings.home / "runs" / run_id
    folder.mkdir(parents=True)
    files = [folder / f"shard-{shard:04d}.parquet" for shard in range(SHARDS)]
    with connection(settings) as con:
        for shard, file in enumerate(files):
            con.execute(f"COPY ({_rows(run_id, rows)} WHERE n % {SHARDS} = {shard}) TO {literal(file)}")
    plan = Plan(
        run_id=run_id,
        week=str(WEEK),
        cutoff=WEEK.cutoff(settings.zone),
        model_version="1",
        model_reason="",
        trained_after_cutoff=False,
        bundle=folder,
        bundle_digest="",
        reused_snapshot=None,
        folder=folder,
    )
    return plan, Checked(files=files, predicted=rows, quarantined=0, expectations=0, warnings=0)


def _rows(run_id: str, rows: int) -> str:
    return f"""
        SELECT
            DATE '{WEEK}' AS week, format('c{{:010d}}', n) AS customer_id, 'product ' || n % 7 AS product_id,
            hash(n, '{run_id}') / 18446744073709551615 AS satisfaction, satisfaction >= 0.5 AS likely_satisfied,
            'champion' AS role, '1' AS model_version, '{run_id}' AS run_id, false AS trained_after_cutoff,
            '{{"info_name": "Customer ' || n || '", "info_segment": "small"}}' AS info
        FROM range({rows}) AS numbers(n)
    """


def _aggregate(reader: psycopg.Connection) -> list[tuple[object, ...]]:
    return reader.execute(
        "SELECT product_id, count(*), max(satisfaction) FROM predictions WHERE week = %s GROUP BY 1 ORDER BY 1",
        [WEEK.monday],
    ).fetchall()


def _to_sql_rate(settings: Settings, rows: int) -> float:
    with connection(settings) as con:
        frame = con.execute(_rows("0", rows)).df()
    started = time.perf_counter()
    frame.to_sql("benchmark", warehouse.engine(settings), index=False)
    seconds = time.perf_counter() - started
    print(f"{'DataFrame.to_sql':24} {seconds:6.2f} s  {rows / seconds:12,.0f} rows/s")
    return rows / seconds


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
