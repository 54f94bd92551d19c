"""Published weeks made directly, for tests of what reads them: predictions as given, published as a run would."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.types.json import Jsonb
from sqlalchemy import text

from pipeline.models.predictions import PREDICTIONS_SCHEMA
from pipeline.settings import Settings
from pipeline.warehouse import runs, transaction
from pipeline.weekly.handoffs import Checked, Plan, Published
from pipeline.weekly.publish import publish
from pipeline.weeks import Week
from tests.handmade import make_plan

Subject = tuple[str, str, float, str | None]
"""customer_id, product_id, satisfaction, info as JSON."""

FACTS: dict[str, Any] = {
    "code_version": "1.2.3",
    "config_digest": "c" * 64,
    "bundle_digest": "b" * 64,
    "model_version": "1",
    "model_reason": "the champion",
    "trained_after_cutoff": False,
    "snapshot_digest": "d" * 64,
    "snapshot_manifest": "snapshots/manifest.json",
    "source_lines": 10,
    "source_rows": 9,
    "rejects": 1,
    "sources": {},
}


def publish_week(
    settings: Settings,
    week: Week,
    subjects: list[Subject],
    quarantined: dict[tuple[str, str], list[str]] | None = None,
    **facts: Any,
) -> tuple[Plan, Published]:
    """Publish a week: subjects served, subjects quarantined with their reasons, facts for the columns of its record."""
    facts = {**FACTS, "subjects": len(subjects) + len(quarantined or {}), **facts}
    run_id = runs.open_run(settings, week=week, airflow_run_id=f"manual__{datetime.now(UTC).isoformat()}")
    runs.update_run(settings, run_id, **facts)
    with transaction(settings) as connection:
        for (customer, product), reasons in (quarantined or {}).items():
            connection.execute(
                text("INSERT INTO quarantine VALUES (:run_id, :customer, :product, :reasons, :rows)"),
                {"run_id": run_id, "customer": customer, "product": product, "reasons": reasons, "rows": Jsonb([])},
            )
    pinned = {name: facts[name] for name in ("model_version", "model_reason", "trained_after_cutoff", "bundle_digest")}
    plan = make_plan(settings, run_id, bundle=settings.home / "models" / "1", **pinned)
    file = plan.folder / "predictions" / "shard-0000.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(_table(plan, subjects), file)
    checked = Checked(
        files=[file], predicted=len(subjects), quarantined=len(quarantined or {}), expectations=1, warnings=0
    )
    return plan, publish(settings, plan, checked)


def _table(plan: Plan, subjects: list[Subject]) -> pa.Table:
    customers, products, satisfaction, info = zip(*subjects, strict=True) if subjects else ((), (), (), ())
    same = {
        "week": datetime.fromisoformat(plan.week).date(),
        "role": "champion",
        "model_version": plan.model_version,
        "run_id": plan.run_id,
        "trained_after_cutoff": plan.trained_after_cutoff,
    }
    columns: dict[str, Any] = {
        **{name: [value] * len(subjects) for name, value in same.items()},
        "customer_id": customers,
        "product_id": products,
        "satisfaction": satisfaction,
        "likely_satisfied": [value >= 0.5 for value in satisfaction],
        "info": info,
    }
    return pa.table({name: columns[name] for name in PREDICTIONS_SCHEMA.names}, schema=PREDICTIONS_SCHEMA)
