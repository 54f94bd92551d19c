"""A published week's report: one self-contained HTML page, and the list of all weeks.

The page needs no other file: it opens from a mail or a share as well as from a server. All its
numbers come from one transaction of the warehouse that sees one published run, and each shows the
SQL it came from. The entry point is `write_report`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from pipeline import warehouse
from pipeline.files import write_text
from pipeline.reporting import filters
from pipeline.reporting.rendering import render
from pipeline.reporting.report_facts import ReportQueries, gather_facts
from pipeline.settings import Settings
from pipeline.weeks import Week


def write_report(settings: Settings, week: Week) -> tuple[Path, str]:
    """Write a week's report and the list of weeks; return the report's path and the run it shows.

    Raises
    ------
    WeekError
        If the week has no published run.
    """
    folder = settings.site / "reports"
    with _turn(settings):
        with _one_view(settings) as connection:
            facts = gather_facts(ReportQueries(connection), week, settings.home)
        write_text(folder / f"{week}.json", json.dumps(_summary(facts)))
        write_text(folder / f"{week}.html", render(settings, "report.html", **facts))
        write_text(folder / "index.html", render(settings, "index.html", reports=_summaries(folder)))
    return folder / f"{week}.html", facts["run"]["run_id"]


@contextmanager
def _turn(settings: Settings) -> Iterator[None]:
    """Let one report be written at a time, so that an older page never replaces a newer one."""
    with warehouse.transaction(settings) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('report', 0))"))
        yield


@contextmanager
def _one_view(settings: Settings) -> Iterator[Connection]:
    with warehouse.available(), warehouse.engine(settings).connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # The root of a partitioned table has no statistics, so PostgreSQL believes that reading two weeks in the
        # order of their index is cheap. It is 15 times as slow as a hash join, because each row is a page to fetch.
        connection.execute(text("SET LOCAL enable_mergejoin = off"))
        yield connection


def _summary(facts: dict[str, Any]) -> dict[str, Any]:
    run, total = facts["run"], facts["total"]
    numbers = {key: total[key] for key in ("subjects", "satisfaction", "likely_dissatisfied", "change")}
    return {
        "week": str(facts["week"]),
        "run_id": run["run_id"],
        "model_version": run["model_version"],
        "headline": facts["headline"],
        "quarantined": int(run["quarantined"]),
        **{key: None if filters.is_missing(value) else float(value) for key, value in numbers.items()},
    }


def _summaries(folder: Path) -> list[dict[str, Any]]:
    """Return the summaries of the reports in `folder`, newest week first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"), reverse=True)]
    return [{**summary, "week": date.fromisoformat(summary["week"])} for summary in found]
