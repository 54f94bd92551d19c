"""Reads what a run kept out from the warehouse: its rejects and its quarantined subjects, whole.

`pipeline.warehouse.evidence` writes them. The entry points are the functions here; `runs_to_look_at` comes first.
"""

import pyarrow as pa
from sqlalchemy import text

from pipeline.errors import WeekError
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.warehouse.loading import loading
from pipeline.warehouse.runs import RunRecord, run
from pipeline.weeks import Week

REJECTS = """
    SELECT source, uri, line, reason, content, content_bytes, file_digest
    FROM (SELECT *, regexp_replace(uri, '^.*/', '') AS file FROM run_rejects) AS named
"""
SUBJECTS = "SELECT customer_id, product_id, reasons, rows::text AS rows FROM quarantine"


def runs_to_look_at(settings: Settings, week: Week | None) -> list[RunRecord]:
    """Return the week's published run and the runs after it, or all runs if none is published; oldest first.

    Without a `week`, it is the week of the run that began last.

    Raises
    ------
    WeekError
        If there is no run.
    """
    query = text(
        """
        SELECT run_id FROM prediction_runs AS runs
        WHERE week = coalesce(
            CAST(:week AS date), (SELECT week FROM prediction_runs ORDER BY started_at DESC, n DESC LIMIT 1)
        )
        AND n >= coalesce((SELECT n FROM published_weeks JOIN prediction_runs USING (run_id)
            WHERE published_weeks.week = runs.week), 0)
        ORDER BY n
        """
    )
    with transaction(settings) as connection:
        found = connection.execute(query, {"week": week and week.monday}).scalars().all()
    if not found:
        raise WeekError(
            f"There is no run of the week {week} on record." if week else "No run is on record.",
            "a week that was run, whether published or refused.",
            f"run it: barometer run{f' --week {week}' if week else ''}.",
        )
    return [run(settings, run_id) for run_id in found]


def rejects(settings: Settings, run_id: str, **only: str | int) -> pa.Table:
    """Return a run's rejects by source, file and line; `only` filters by columns of `run_rejects`, or by `file`."""
    return _table(settings, REJECTS, {"run_id": run_id, **only}, "source, uri, line")


def subjects(settings: Settings, run_id: str, **only: str) -> pa.Table:
    """Return a run's quarantined subjects, with `rows` as JSON; `only` filters by columns of `quarantine`."""
    return _table(settings, SUBJECTS, {"run_id": run_id, **only}, "customer_id, product_id")


def _table(settings: Settings, query: str, conditions: dict[str, str | int], order: str) -> pa.Table:
    where = " AND ".join(f"{name} = ${number}" for number, name in enumerate(conditions, start=1))
    with loading(settings) as cursor:
        cursor.execute(f"{query} WHERE {where} ORDER BY {order}", tuple(conditions.values()))
        return cursor.fetch_arrow_table()
