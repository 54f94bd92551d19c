"""The size of the weeks before, from the record of published runs: values for the parameters of suites.

Used by the stages that validate. Entry points: `recent_rows` and `recent_subjects`.
"""

from statistics import median
from typing import Any

from sqlalchemy import text

from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.weeks import Week

RECENT_WEEKS = 8


def recent_rows(settings: Settings, week: Week, source: str) -> float | None:
    """Return the median of the weeks' rows read from a source, or None without history."""
    reads = _recent(settings, week, "sources -> CAST(:source AS text)", source=source)
    return median(sum(file["rows"] for file in read["files"]) for read in reads) if reads else None


def recent_subjects(settings: Settings, week: Week) -> float | None:
    """Return the median number of subjects of the weeks before, or None without history."""
    subjects = _recent(settings, week, "subjects")
    return median(subjects) if subjects else None


def _recent(settings: Settings, week: Week, fact: str, **values: str) -> list[Any]:
    """Return a column of each published run of the weeks before, leaving out nulls."""
    query = text(
        f"SELECT fact FROM (SELECT week, {fact} AS fact FROM prediction_runs WHERE state = 'published') AS published"
        " WHERE week >= :earliest AND week < :week AND fact IS NOT NULL"
    )
    bounds = {"earliest": week.plus(-RECENT_WEEKS).monday, "week": week.monday}
    with transaction(settings) as warehouse:
        return list(warehouse.execute(query, bounds | values).scalars())
