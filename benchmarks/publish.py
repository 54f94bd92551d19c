"""Publishing a week into the embedded PostgreSQL, while readers read, against ADBC alone and `DataFrame.to_sql`.

    python -m benchmarks.publish [--rows 2000000] [--repeats 3] [--weeks 0]

The week is published again and again, in turn with a bare ADBC ingest of the same files into a new table without keys.
Then a REPEATABLE READ transaction that has seen the last run stays open, another reader looks a subject up all the
time, and the week is published once more. `to_sql` gets a part of the rows, so that the benchmark ends. On a busy
machine compare the CPU seconds: those of this process and of PostgreSQL's.

With `--weeks`, that many weeks of 5000 rows are published first, to see whether later ones take longer.
"""

import argparse
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Self

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import warehouse
from pipeline.duck import connection, literal
from pipeline.local.postgres import embedded
from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings, load_settings
from pipeline.warehouse import runs
from pipeline.warehouse.loading import loading
from pipeline.weekly.handoffs import Checked, Plan
from pipeline.weekly.publish import publish
from pipeline.weeks import Week

WEEK = Week.parse("2026-11-16")
SHARDS = 8
TO_SQL_ROWS = 100_000
SMALL_ROWS = 5000
LOOKUP = "SELECT run_id FROM predictions WHERE week = %s AND customer_id = 'c0000000001'"


def main() -> None:
    """Publish as the arguments say and print wall and CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weeks", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = _settings(Path(name))
        server = _server(databases(settings).warehouse.replace("+psycopg", ""))
        try:
            if arguments.weeks:
                _measure_weeks(settings, server, arguments.weeks)
            _measure(settings, server, arguments.rows, arguments.repeats)
        finally:
            embedded.remove(settings.home)


def _measure_weeks(settings: Settings, server: psutil.Process, weeks: int) -> None:
    cost = []
    for number in range(weeks):
        week = Week.parse(str(WEEK.monday - timedelta(weeks=weeks - number)))
        plan, checked = _scored(settings, SMALL_ROWS, week)
        cost.append(_timed(server, partial(publish, settings, plan, checked)))
    some = max(weeks // 5, 1)
    for label, part in (("first", cost[:some]), ("last", cost[-some:])):
        wall, cpu = (statistics.median(column) for column in zip(*part, strict=True))
        print(f"{label} {len(part)} of {weeks} small weeks: median {wall:.3f} s wall, {cpu:.3f} s CPU")


def _measure(settings: Settings, server: psutil.Process, rows: int, repeats: int) -> None:
    url = databases(settings).warehouse.replace("+psycopg", "")
    sides: dict[str, list[tuple[float, float]]] = {"ADBC ingest alone": [], "publish": []}
    for _ in range(repeats):
        plan, checked = _scored(settings, rows)
        sides["ADBC ingest alone"].append(_timed(server, partial(_ingest, settings, checked.files)))
        sides["publish"].append(_timed(server, partial(publish, settings, plan, checked)))
    for label, costs in sides.items():
        _show(label, rows, costs)
    with psycopg.connect(url) as open_reader, psycopg.connect(url, autocommit=True) as looking_up:
        open_reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = _aggregate(open_reader)
        plan, checked = _scored(settings, rows)
        with _Lookups(looking_up) as lookups:
            cost = _timed(server, partial(publish, settings, plan, checked))
        assert _aggregate(open_reader) == before, "the open transaction sees what it saw"
    _show("publish, readers read", rows, [cost])
    print(f"{'lookups meanwhile':24} {len(lookups.milliseconds)}, the slowest {max(lookups.milliseconds):.0f} ms")
    started = time.perf_counter()
    with psycopg.connect(url) as reader:
        assert _aggregate(reader) != before, "a new transaction sees the new run"
    print(f"{'the week by product':24} {(time.perf_counter() - started) * 1000:6.0f} ms")
    print(f"{'peak memory':24} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MiB")
    _measure_to_sql(settings, server, min(rows, TO_SQL_ROWS))


def _show(label: str, rows: int, costs: list[tuple[float, float]]) -> None:
    least, median = ([function(column) for column in zip(*costs, strict=True)] for function in (min, statistics.median))
    print(
        f"{label:24} wall {least[0]:6.2f} (median {median[0]:.2f}) s, CPU {least[1]:6.2f} (median {median[1]:.2f}) s,"
        f" {rows / least[0]:12,.0f} rows/s"
    )


def _timed(server: psutil.Process, work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall seconds that the work takes, and the CPU seconds of this process and of the server."""
    started, cpu = time.perf_counter(), time.process_time() + _cpu_seconds(server)
    work()
    wall = time.perf_counter() - started
    time.sleep(0.2)  # the server's process for the last connection ends, and its cost is then its parent's
    return wall, time.process_time() + _cpu_seconds(server) - cpu


def _server(url: str) -> psutil.Process:
    with psycopg.connect(url) as connection:
        return psutil.Process(connection.info.backend_pid).parents()[0]


def _cpu_seconds(server: psutil.Process) -> float:
    times = server.cpu_times()
    seconds: float = times.user + times.system + times.children_user + times.children_system
    for process in server.children():
        try:
            seconds += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return seconds


def _ingest(settings: Settings, files: list[Path]) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from pq.ParquetFile(file).iter_batches()

    with loading(settings) as cursor:
        cursor.execute("DROP TABLE IF EXISTS ingested_alone")
        reader = pa.RecordBatchReader.from_batches(pq.read_schema(files[0]), batches())
        cursor.adbc_ingest("ingested_alone", reader, mode="create")


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


def _scored(settings: Settings, rows: int, week: Week = WEEK) -> tuple[Plan, Checked]:
    """Write a run's predictions, as the scoring tasks leave them."""
    run_id = runs.open_run(settings, week=week, airflow_run_id="benchmark")
    runs.update_run(settings, run_id, subjects=rows)
    folder = settings.home / "runs" / run_id
    folder.mkdir(parents=True)
    files = [folder / f"shard-{shard:04d}.parquet" for shard in range(SHARDS)]
    with connection(settings) as con:
        for shard, file in enumerate(files):
            con.execute(f"COPY ({_rows(run_id, rows, week)} WHERE n % {SHARDS} = {shard}) TO {literal(file)}")
    return plan_by_hand(settings, week, run_id), Checked(
        files=files, predicted=rows, quarantined=0, expectations=0, warnings=0
    )


def plan_by_hand(settings: Settings, week: Week, run_id: str) -> Plan:
    """Return the plan of a run whose stages need no model."""
    folder = settings.home / "runs" / run_id
    return Plan(
        run_id=run_id,
        week=str(week),
        cutoff=week.cutoff(settings.zone),
        model_version="1",
        model_reason="",
        trained_after_cutoff=False,
        bundle=folder,
        bundle_digest="",
        reused_snapshot=None,
        folder=folder,
    )


def _rows(run_id: str, rows: int, week: Week = WEEK) -> str:
    return f"""
        SELECT
            DATE '{week}' AS week, format('c{{:010d}}', n) AS customer_id, 'product ' || n % 7 AS product_id,
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


def _measure_to_sql(settings: Settings, server: psutil.Process, rows: int) -> None:
    with connection(settings) as con:
        frame = con.execute(_rows("0", rows)).df()
    cost = _timed(server, lambda: frame.to_sql("benchmark", warehouse.engine(settings), index=False))
    _show("DataFrame.to_sql", rows, [cost])


if __name__ == "__main__":
    main()
