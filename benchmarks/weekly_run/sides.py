"""The sides of the comparison, each run in a process of its own from an evicted feed and a fresh home.

Entry points: `SIDES`, from a side's letter to its function, and `Work`, which it takes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.weekly_run.costs import Cost, Meter
from benchmarks.weekly_run.feed import CHAMPION, CHAMPIONS, FAMILIES
from pipeline.duck import literal, quoted
from pipeline.local.postgres.databases import databases
from pipeline.models.bundle import Bundle
from pipeline.settings import Settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PREDICTED_ROWS = 1_000_000
"""Rows of one call of `predict_proba`: more need more memory and are no faster."""
LOADED_ROWS = 65_536
DUCKDB_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "timestamp": "TIMESTAMPTZ"}


@dataclass(frozen=True)
class Work:
    """What a side works on."""

    settings: Settings
    week: Week
    folder: Path
    """Where sides leave their results."""
    meter: Meter

    def champion(self, family: str) -> dict[str, str]:
        """Return the `version` and the `folder` of the family's champion."""
        return json.loads((self.settings.home / CHAMPIONS).read_text())[family]  # type: ignore[no-any-return]

    def model(self, family: str) -> tuple["Pipeline", Bundle]:
        """Return the family's champion as scikit-learn's pipeline, and its description."""
        import skops.io

        folder = self.settings.home / self.champion(family)["folder"]
        file = folder / "model.skops"
        model = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
        return model, Bundle.model_validate_json((folder / "bundle.json").read_text())

    @property
    def database(self) -> str:
        """URL of the warehouse."""
        return databases(self.settings).warehouse.replace("+psycopg", "")


def run_command(work: Work) -> None:
    """Run (a), the command `barometer run`: Airflow runs the DAG in one process."""
    from pipeline.reporting.report_facts import STAGES

    version = work.champion(CHAMPION)["version"]
    command = [str(Path(sys.executable).with_name("barometer")), "run", "--json"]
    cost: Cost = {}
    with work.meter.adding_to(cost):
        asked = ["--week", str(work.week), "--model", version]
        ran = subprocess.run([*command, *asked], check=True, stdout=subprocess.PIPE)
    seconds = json.loads(ran.stdout)["stage_seconds"]
    for stage in sorted(seconds, key=[*STAGES, *seconds].index):
        work.meter.report(stage, {"wall": seconds[stage]})
    work.meter.report("start, Airflow, end; all CPU", cost | {"wall": cost["wall"] - sum(seconds.values())})


def run_stages(work: Work) -> None:
    """Run (b), the stages by themselves; then score the same snapshot with each other family."""
    for family in FAMILIES:
        folder = _run_stages(work, family, "" if family == CHAMPION else f" ({family})")
        if family == CHAMPION:
            shutil.copytree(folder / "predictions", work.folder / "ours", dirs_exist_ok=True)


def _run_stages(work: Work, family: str, repeated: str) -> Path:
    from pipeline.orchestration.run_facts import run_facts
    from pipeline.warehouse.runs import record_stages
    from pipeline.weekly.check import check
    from pipeline.weekly.features import features
    from pipeline.weekly.ingest import ingest
    from pipeline.weekly.plan import plan
    from pipeline.weekly.publish import publish
    from pipeline.weekly.report import report
    from pipeline.weekly.score import score
    from pipeline.weekly.validate_features import validate_features
    from pipeline.weekly.validate_sources import validate_sources

    settings = work.settings

    def stage(function: Callable[..., Any], *handed: Any, **asked: Any) -> Any:
        with work.meter.stage(function.__name__ + repeated):
            handoff = function(settings, *handed, **asked)
            of = handed[0] if handed else handoff
            record_stages(settings, of.run_id, seconds={}, peak_mib={}, facts=run_facts(of, handoff))
            return handoff

    version = work.champion(family)["version"]
    planned = stage(plan, week=work.week, model=version, rebuild=False, airflow_run_id=f"benchmark {family}")
    ingested = stage(ingest, planned)
    stage(validate_sources, planned, ingested)
    snapshot = stage(features, planned, ingested)
    validated = stage(validate_features, planned, snapshot)
    with work.meter.stage("score" + repeated), ThreadPoolExecutor(os.cpu_count()) as pool:
        scored = list(pool.map(partial(score, settings, planned, snapshot, validated), range(snapshot.shards)))
    published = stage(publish, planned, stage(check, planned, snapshot, validated, scored))
    stage(report, planned, published)
    return planned.folder  # type: ignore[no-any-return]


def run_predict_proba(work: Work) -> None:
    """Run (c), bare `predict_proba` of each family, on all cores, with the features in memory."""
    from pipeline.training.training_set import frame

    features = work.folder / "features.parquet"
    if not features.exists():
        _make_features(work, lambda _: nullcontext())
    for family in FAMILIES:
        model, bundle = work.model(family)
        kinds = {"number": pa.float32(), "category": pa.string()}
        cost: Cost = {}
        for batch in pq.ParquetFile(features).iter_batches(PREDICTED_ROWS):
            columns = {each.name: batch[each.name].cast(kinds[each.kind], safe=False) for each in bundle.features}
            rows = frame(pa.table(columns), bundle.features)
            with work.meter.adding_to(cost):
                model.predict_proba(rows)
        work.meter.report(f"predict_proba ({family})", cost)


def run_script(work: Work) -> None:
    """Run (d), a script with pandas."""
    from benchmarks.weekly_run.script import predict_week

    pipeline, bundle = work.model(CHAMPION)
    model = pipeline, bundle.features, work.settings.model.threshold
    predictions = predict_week(work.settings, work.week, model, work.database, work.meter.stage)
    predictions.to_parquet(work.folder / "script.parquet")


def run_duckdb(work: Work) -> None:
    """Run (e), the floor: DuckDB reads, groups, joins and writes; PostgreSQL takes rows like the predictions."""
    from adbc_driver_postgresql import dbapi

    _make_features(work, work.meter.stage)
    with work.meter.stage("load"), dbapi.connect(work.database) as connection, connection.cursor() as cursor:
        file = pq.ParquetFile(work.folder / "rows.parquet")
        rows = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(LOADED_ROWS))
        cursor.adbc_ingest("bare_rows", rows, mode="create")
        connection.commit()


def _make_features(work: Work, stage: Callable[[str], Any]) -> None:
    """Make the features and, without measuring it, rows that look like predictions."""
    import duckdb

    settings, week, features = work.settings, work.week, work.folder / "features.parquet"
    times = {"week_start": week.start(settings.zone), "week_end": week.cutoff(settings.zone)}
    with duckdb.connect() as con:
        con.execute(f"SET TimeZone = 'UTC'; SET temp_directory = {literal(work.folder / 'tmp')}")
        with stage("read, features"):
            query = settings.features_sql.read_text(encoding="utf-8")
            for name in settings.sources:
                con.execute(f"CREATE VIEW {quoted(name)} AS {_source(settings, name, week)}")
                if name not in query:  # labels only, but every side reads every file
                    con.execute(f"SELECT count(COLUMNS(*)) FROM {quoted(name)}")
            con.execute(f"COPY ({query}) TO {literal(features)} (COMPRESSION zstd)", times)
        con.execute(
            f"""
            COPY (
                SELECT
                    DATE '{week}' AS week, customer_id, product_id,
                    hash(customer_id, product_id) / 2e19 AS satisfaction,
                    satisfaction >= 0.5 AS likely_satisfied, 'champion' AS role, '1' AS model_version,
                    '{week}.1' AS run_id, false AS trained_after_cutoff,
                    to_json({{customer: info_customer, segment: info_segment, product: info_product,
                        monthly_value: info_monthly_value}}) :: VARCHAR AS info
                FROM {literal(features)}
            ) TO {literal(work.folder / "rows.parquet")}
            """
        )


def _source(settings: Settings, name: str, week: Week) -> str:
    """Return a query for a source with its declared types, as far as it was known at the week's end."""
    source, cutoff = settings.sources[name], literal(week.cutoff(settings.zone).isoformat())
    weeks = range(source.lookback_weeks or 1)
    files = [settings.landing / (source.path or "").replace("{week}", str(week.plus(-back))) for back in weeks]
    declared = source.columns.items()
    columns = ", ".join(f"{c}: {literal(DUCKDB_TYPES.get(each.type, each.type))}" for c, each in declared)
    read = {
        ".csv": f"read_csv(?, header = true, columns = {{{columns}}}, ignore_errors = true)",
        ".jsonl": f"read_json(?, format = 'nd', columns = {{{columns}}}, ignore_errors = true)",
        ".parquet": "read_parquet(?)",
    }[next(suffix for suffix in files[0].suffixes if suffix != ".gz")]
    known = "".join(
        f" REPLACE (CASE WHEN {each.known_at} < {cutoff} THEN {c} END AS {c})" for c, each in declared if each.known_at
    )
    times = [f"{time} < {cutoff}" for time in (source.event_time, source.arrived_at) if time]
    read = read.replace("?", f"[{', '.join(map(literal, files))}]")
    return f"SELECT *{known} FROM {read} WHERE {' AND '.join(times) or 'true'}"


SIDES = {"a": run_command, "b": run_stages, "c": run_predict_proba, "d": run_script, "e": run_duckdb}
