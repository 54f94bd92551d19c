"""Counts what a run kept out, for `barometer quarantine list`: rejects by source and reason, subjects by reason.

The entry point is `listing`.
"""

from typing import Any

from pipeline.manifests import SourceRead
from pipeline.settings import Settings
from pipeline.validation.budgets import allowed_rejects, allowed_subjects
from pipeline.warehouse.kept_out import queries as kept_out
from pipeline.warehouse.runs import RunRecord


def listing(settings: Settings, run: RunRecord) -> dict[str, Any]:
    """Return the counts as JSON has them. Budgets are today's; a source that is no longer declared has None."""
    reads = {name: SourceRead.model_validate(read) for name, read in (run.sources or {}).items()}
    reasons = kept_out.rejects_by_reason(settings, run.run_id)
    return {
        "run_id": run.run_id,
        "week": str(run.week),
        "state": run.state,
        "error": run.error,
        "rejects": sum(read.rejects for read in reads.values()),
        "sources": {
            name: {
                "rejects": read.rejects,
                "new_rejects": read.new_rejects,
                **_budget(settings, name, read),
                "reasons": {row["reason"]: row["rejects"] for row in reasons if row["source"] == name},
            }
            for name, read in reads.items()
            if read.rejects
        },
        "quarantined": kept_out.count_subjects(settings, run.run_id),
        "subjects": run.subjects,
        "allowed_subjects": None if run.subjects is None else allowed_subjects(settings.budget, run.subjects),
        "reasons": {row["reason"]: row["subjects"] for row in kept_out.subjects_by_reason(settings, run.run_id)},
    }


def _budget(settings: Settings, name: str, read: SourceRead) -> dict[str, int | None]:
    known = name in settings.sources
    lines, allowed = allowed_rejects(settings.sources[name], read) if known else (read.rows + read.rejects, None)
    return {"lines": lines, "allowed_rejects": allowed}
