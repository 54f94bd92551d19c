"""What the weeks before were like, by the record of published runs: values of suites' parameters.

Used by the stages that validate. The entry points are `recent_rows` and `recent_subjects`.
"""

from statistics import median
from typing import Any

from pipeline.settings import Settings
from pipeline.weeks import Week

RECENT_WEEKS = 8


def recent_rows(settings: Settings, week: Week, source: str) -> float | None:
    """Return the median number of rows that were read from a source for the weeks before, None without history."""
    reads = _recent(settings, week, "sources -> CAST(:source AS text)", source=source)
    return median(sum(file["rows"] for file in read["files"]) for read in reads) if reads else None


def recent_subjects(settings: Settings, week: Week) -> float | None:
    """Return the median number of subjects of the weeks before, None without history."""
    subjects = _recent(settings, week, "subjects")
    return median(subjects) if subjects else None


def _recent(settings: Settings, week: Week, fact: str, **values: str) -> list[Any]:
    """Return a fact of each published run of the weeks before, where the run knows it."""
    from sqlalchemy import text

    from pipeline.warehouse import transaction

    query = text(
        f"SELECT fact FROM (SELECT week, {fact} AS fact FROM prediction_runs WHERE state = 'published') AS published"
        " WHERE week >= :earliest AND week < :week AND fact IS NOT NULL"
    )
    bounds = {"earliest": week.plus(-RECENT_WEEKS).monday, "week": week.monday}
    with transaction(settings) as warehouse:
        return list(warehouse.execute(query, bounds | values).scalars())
