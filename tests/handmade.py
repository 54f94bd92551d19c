"""Runs, snapshots and predictions made by hand, for tests of the stages that look at them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn, Shard, SnapshotManifest
from pipeline.models.predictions import PREDICTIONS_SCHEMA, Scored
from pipeline.settings import Settings
from pipeline.warehouse.runs import open_run
from pipeline.weekly.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.weeks import Week

WEEK = Week.parse("2026-03-02")
COLUMNS = [
    FeatureColumn(name="amount", kind="number"),
    FeatureColumn(name="row", kind="number"),  # also the name of a column of the quarantine's file
    FeatureColumn(name="kind", kind="category"),
    FeatureColumn(name="info_name", kind="info"),
]
_TYPES = {"number": pa.float32(), "category": pa.string(), "info": pa.string()}
FEATURES_SCHEMA = pa.schema(
    [("customer_id", pa.string()), ("product_id", pa.string()), *((c.name, _TYPES[c.kind]) for c in COLUMNS)]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int64()),
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("reasons", pa.list_(pa.string())),
    ]
)


def make_plan(settings: Settings, run_id: str = f"{WEEK}.1", **facts: Any) -> Plan:
    """Return the plan of a run, with `facts` instead of what is usual."""
    week = Week.parse(run_id.partition(".")[0])
    usual = {
        "run_id": run_id,
        "week": str(week),
        "cutoff": week.cutoff(settings.zone),
        "model_version": "3",
        "model_reason": "made up",
        "trained_after_cutoff": False,
        "bundle": settings.home / "no bundle",
        "bundle_digest": "",
        "reused_snapshot": None,
        "folder": settings.home / "runs" / run_id,
    }
    return Plan.model_validate({**usual, **facts})


def make_run(settings: Settings) -> Plan:
    """Put a run of `WEEK` on record and return its plan."""
    return make_plan(settings, open_run(settings, week=WEEK, airflow_run_id="by hand"))


def feature_row(customer: str | None, product: str | None = "p0", **values: object) -> dict[str, object]:
    """Return a row of features that passes every check, with `values` instead of the usual ones."""
    return {"customer_id": customer, "product_id": product, "amount": 1.0, "row": 1.0, "kind": "a", **values}


def make_snapshot(folder: Path, shards: list[list[dict[str, object]]] | list[pa.Table]) -> Snapshot:
    """Write a snapshot of `WEEK` with these rows in its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    sealed, keys, rows = [], set(), 0
    for number, content in enumerate(shards):
        table = content if isinstance(content, pa.Table) else pa.Table.from_pylist(content, schema=FEATURES_SCHEMA)
        file = folder / f"shard-{number:04d}.parquet"
        pq.write_table(table, file)
        sealed.append(Shard(file=file.name, rows=table.num_rows, digest=sha256_of_file(file)))
        keys.update(zip(*(table.column(key).to_pylist() for key in ("customer_id", "product_id")), strict=True))
        rows += table.num_rows
    manifest = SnapshotManifest(
        week=str(WEEK),
        cutoff=datetime(2026, 3, 8, 23, tzinfo=UTC),
        sql_digest="",
        columns=COLUMNS,
        rows=rows,
        subjects=len(keys),
        shards=sealed,
        sources={},
    )
    manifest.write(folder / "manifest.json")
    return Snapshot(
        manifest=folder / "manifest.json", digest=manifest.digest, subjects=len(keys), rows=rows, shards=len(shards)
    )


def prediction_row(customer: str, product: str = "p0", **values: object) -> dict[str, object]:
    """Return a prediction that passes every check, with `values` instead of the usual ones."""
    usual = {
        "week": WEEK.monday,
        "satisfaction": 0.5,
        "likely_satisfied": True,
        "role": "champion",
        "model_version": "3",
        "run_id": f"{WEEK}.1",
        "trained_after_cutoff": False,
        "info": None,
    }
    return {"customer_id": customer, "product_id": product, **usual, **values}


def prediction_of(plan: Plan, customer: str, product: str, satisfaction: float, **values: object) -> dict[str, object]:
    """Return a prediction of a plan's run."""
    facts = plan.model_dump(include={"model_version", "run_id", "trained_after_cutoff"})
    facts |= {"week": Week.parse(plan.week).monday, "likely_satisfied": satisfaction >= 0.5}
    return prediction_row(customer, product, satisfaction=satisfaction, **{**facts, **values})


def make_predictions(folder: Path, shards: list[list[dict[str, object]]]) -> list[Scored]:
    """Write the predictions of each shard."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, rows in enumerate(shards):
        file = folder / f"shard-{number:04d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA), file)
        parts.append(Scored(shard=number, file=file, rows=len(rows), digest=sha256_of_file(file)))
    return parts


def make_quarantine(path: Path, kept_out: list[tuple[int, int, str, str]]) -> FeaturesValidated:
    """Write a quarantine of (shard, row, customer_id, product_id)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = QUARANTINE_SCHEMA.names
    rows = [dict(zip(names, (*place, ["made up"]), strict=True)) for place in kept_out]
    pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), path)
    subjects = {place[2:] for place in kept_out}
    return FeaturesValidated(quarantine=path, quarantined=len(subjects), expectations=0, warnings=0)
