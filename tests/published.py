"""Published weeks made directly, for tests of what reads them: predictions as given, published as a run would."""

from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from pipeline.settings import Settings
from pipeline.warehouse import runs, transaction
from pipeline.weekly.handoffs import Checked, Plan, Published
from pipeline.weekly.publish import publish
from pipeline.weeks import Week
from tests.handmade import make_plan, make_predictions, prediction_of

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
    rows = [prediction_of(plan, *subject, info=info) for *subject, info in subjects]
    (part,) = make_predictions(plan.folder / "predictions", [rows])
    counts = {"predicted": len(subjects), "quarantined": len(quarantined or {}), "expectations": 1, "warnings": 0}
    return plan, publish(settings, plan, Checked(files=[part.file], **counts))
