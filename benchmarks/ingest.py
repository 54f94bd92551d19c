"""From a raw feed to validated features: the stages of the weekly run, and of collecting, against bare DuckDB.

    python -m benchmarks.ingest [--customers 800000] [--weeks 9] [--repeats 3] [--collect] [--landing FOLDER]

The feed is the sample company's: CSV and JSON Lines in gzip, and Parquet. The floor is a DuckDB script on the same
files: it reads them with declared types, skipping what it cannot read, writes Parquet, and runs the same features.sql
on that. It knows no lines, rejects, digests, cutoffs or shards. Each part runs in a process of its own, the floor and
ours in turn, with the files in the cache, and prints the median and the least of its seconds (wall and CPU, after the
imports) and its peak memory. With --collect, a training collects its weeks twice: without and with what it kept.
"""

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from benchmarks.publish import plan_by_hand
from examples.sample import generate
from pipeline.duck import connection, literal, quoted
from pipeline.local.postgres import embedded
from pipeline.settings import ROOT, Settings, Source, load_settings
from pipeline.sources.landing import locate
from pipeline.warehouse.runs import open_run
from pipeline.weekly.features import features
from pipeline.weekly.handoffs import Ingested, Plan, Snapshot
from pipeline.weekly.ingest import ingest
from pipeline.weekly.validate_features import validate_features
from pipeline.weekly.validate_sources import validate_sources
from pipeline.weeks import Week

TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "timestamp": "TIMESTAMPTZ"}
"""DuckDB's types; the others are called the same."""
READERS = {"csv": "read_csv({}, header = true, columns = {}, {})", "jsonl": "read_json({}, columns = {}, {})"}
COLLECT = ("collect", "collect again")

Measured = tuple[float, float, float]
"""Seconds of wall time, seconds of CPU, peak memory in MiB."""


def main() -> None:
    """Make the feed, run every part in turn, and print its cost and its ratio to the floor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=800_000)
    parser.add_argument("--weeks", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--collect", action="store_true")
    parser.add_argument("--landing", type=Path, help="a sample that is there, instead of a new one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = _settings(Path(name), arguments.landing)
        if arguments.landing is None:
            end = Week.last_complete(datetime.now(UTC), settings.zone)
            generate(settings.landing, arguments.customers, arguments.weeks, 7, end)
        try:
            _measure(settings, arguments.repeats, list(PARTS) if arguments.collect else [*PARTS][: -len(COLLECT)])
        finally:
            embedded.remove(settings.home)


def _measure(settings: Settings, repeats: int, parts: list[str]) -> None:
    measured: dict[str, list[Measured]] = {part: [] for part in parts}
    for _ in range(repeats):
        for folder in ("ingested", "snapshots", "training", "collected"):
            shutil.rmtree(settings.home / folder, ignore_errors=True)
        for part in parts:
            measured[part].append(_alone(part, settings))
    medians = {
        part: [statistics.median(column) for column in zip(*times, strict=True)] for part, times in measured.items()
    }
    print(f"{'':18} {'wall s':>7} {'least':>7} {'CPU s':>7} {'MiB':>6}  against the floor: wall, CPU")
    for part, (wall, cpu, mib) in medians.items():
        floor = medians.get(f"floor: {part}")
        ratio = f"  {wall / floor[0]:.2f}, {cpu / floor[1]:.2f}" if floor else ""
        print(f"{part:18} {wall:7.2f} {min(measured[part])[0]:7.2f} {cpu:7.2f} {mib:6.0f}{ratio}")
    ours, floor = (sum(medians[f"{side}{part}"][0] for part in ("ingest", "features")) for side in ("", "floor: "))
    print(f"ingest and features take {ours / floor:.2f} times as long as bare DuckDB")


def bare_ingest(settings: Settings) -> None:
    """Read every file of the week with DuckDB, and write a Parquet file for each source."""
    settings.home.joinpath("floor").mkdir(exist_ok=True)
    with connection(settings) as con:
        for name, source in settings.sources.items():
            files = [literal(file.path) for file in locate(settings, name, _week(settings))]
            con.execute(
                f"COPY (FROM {_reader(source, files)}) TO {literal(settings.home / 'floor' / f'{name}.parquet')}"
                " (FORMAT parquet, COMPRESSION zstd)"
            )


def _reader(source: Source, files: list[str]) -> str:
    read = READERS.get("csv" if ".csv" in files[0] else "jsonl" if ".jsonl" in files[0] else "parquet")
    if read is None:
        return f"read_parquet([{', '.join(files)}])"
    types = ", ".join(f"{literal(n)}: {literal(TYPES.get(c.type, c.type))}" for n, c in source.columns.items())
    return read.format(f"[{', '.join(files)}]", f"{{{types}}}", "ignore_errors = true")


def bare_features(settings: Settings) -> None:
    """Run the SQL of features.sql on these files, and write the result."""
    week = _week(settings)
    with connection(settings) as con:
        for name in settings.sources:
            con.execute(f"CREATE VIEW {quoted(name)} AS FROM {literal(settings.home / 'floor' / f'{name}.parquet')}")
        con.execute(
            f"COPY ({settings.features_sql.read_text().strip()}) TO"
            f" {literal(settings.home / 'floor' / 'features.parquet')} (FORMAT parquet)",
            {"week_start": week.start(settings.zone), "week_end": week.cutoff(settings.zone)},
        )


def ingest_stage(settings: Settings) -> None:
    """Plan a run by hand, and ingest."""
    week = _week(settings)
    run_id = open_run(settings, week=week, airflow_run_id=f"benchmark {time.time()}")
    plan = plan_by_hand(settings, week, run_id)
    _keep(settings, plan=plan, ingested=ingest(settings, plan))


def _keep(settings: Settings, **handed: Plan | Ingested | Snapshot) -> None:
    for name, facts in handed.items():
        (settings.home / f"{name}.json").write_text(facts.model_dump_json())


def _plan(settings: Settings) -> Plan:
    return Plan.model_validate_json((settings.home / "plan.json").read_text())


def _ingested(settings: Settings) -> Ingested:
    return Ingested.model_validate_json((settings.home / "ingested.json").read_text())


def validate_sources_stage(settings: Settings) -> None:
    """Validate what was ingested."""
    validate_sources(settings, _plan(settings), _ingested(settings))


def features_stage(settings: Settings) -> None:
    """Make the snapshot."""
    _keep(settings, snapshot=features(settings, _plan(settings), _ingested(settings)))


def validate_features_stage(settings: Settings) -> None:
    """Validate the snapshot."""
    snapshot = Snapshot.model_validate_json((settings.home / "snapshot.json").read_text())
    validate_features(settings, _plan(settings), snapshot)


def collect_stage(settings: Settings) -> None:
    """Collect a training set."""
    from pipeline.training.collect import collect
    from pipeline.training.training_plan import plan_training

    collect(settings, plan_training(settings, as_of=_week(settings), airflow_run_id=f"benchmark {time.time()}"))


PARTS: dict[str, Callable[[Settings], None]] = {
    "floor: ingest": bare_ingest,
    "ingest": ingest_stage,
    "validate sources": validate_sources_stage,
    "floor: features": bare_features,
    "features": features_stage,
    "validate features": validate_features_stage,
    **dict.fromkeys(COLLECT, collect_stage),
}


def _alone(part: str, settings: Settings) -> Measured:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, part, settings).result()


def _measured(part: str, settings: Settings) -> Measured:
    import great_expectations  # noqa: F401 (the imports are not what is measured)
    import pyarrow.csv  # noqa: F401

    started, cpu_started = time.perf_counter(), time.process_time()
    PARTS[part](settings)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _week(settings: Settings) -> Week:
    return Week.parse(max(settings.landing.glob("usage/usage-*")).name.removeprefix("usage-")[:10])


def _settings(folder: Path, landing: Path | None) -> Settings:
    environ = {**os.environ, "BAROMETER_CONFIG": str(ROOT / "pipeline.toml"), "BAROMETER_HOME": str(folder / "home")}
    environ |= {"BAROMETER__PATHS__LANDING": str(landing)} if landing else {}
    settings = load_settings(environ)
    settings.home.mkdir()
    return settings


if __name__ == "__main__":
    main()
