"""Counts what a run kept out, for `barometer quarantine list`: rejects by source and reason, subjects by reason.

The entry point is `listing`.
"""

from typing import Any

from sqlalchemy import text

from pipeline.manifests import SourceRead
from pipeline.settings import Settings
from pipeline.validation.budgets import allowed_rejects, allowed_subjects
from pipeline.warehouse import transaction
from pipeline.warehouse.runs import RunRecord

SUBJECTS = "SELECT count(*) FROM quarantine WHERE run_id = :run_id"
REJECTS_BY_REASON = """
    SELECT source, regexp_replace(reason, '''[^'']*''', '''…''', 'g') AS reason, count(*) AS rejects
    FROM run_rejects WHERE run_id = :run_id GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
"""
"""A value that a reason quotes is replaced by `'…'`."""
SUBJECTS_BY_REASON = """
    SELECT split_part(reason, ': ', 1) AS reason, count(DISTINCT (customer_id, product_id)) AS subjects
    FROM quarantine, unnest(reasons) AS reason WHERE run_id = :run_id GROUP BY 1 ORDER BY 2 DESC, 1
"""
"""A subject that fails two expectations is counted in both."""


def listing(settings: Settings, run: RunRecord) -> dict[str, Any]:
    """Return the counts as JSON has them. Budgets are today's; a source that is no longer declared has None."""
    reads = {name: SourceRead.model_validate(read) for name, read in (run.sources or {}).items()}
    this = {"run_id": run.run_id}
    with transaction(settings) as connection:
        rejects = connection.execute(text(REJECTS_BY_REASON), this).all()
        quarantined = connection.execute(text(SUBJECTS), this).scalar_one()
        subjects = connection.execute(text(SUBJECTS_BY_REASON), this).all()
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
                "reasons": {row.reason: row.rejects for row in rejects if row.source == name},
            }
            for name, read in reads.items()
            if read.rejects
        },
        "quarantined": quarantined,
        "subjects": run.subjects,
        "allowed_subjects": None if run.subjects is None else allowed_subjects(settings.budget, run.subjects),
        "reasons": {row.reason: row.subjects for row in subjects},
    }


def _budget(settings: Settings, name: str, read: SourceRead) -> dict[str, int | None]:
    known = name in settings.sources
    lines, allowed = allowed_rejects(settings.sources[name], read) if known else (read.rows + read.rejects, None)
    return {"lines": lines, "allowed_rejects": allowed}
