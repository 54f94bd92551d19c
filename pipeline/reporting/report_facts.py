"""The report's facts: everything that its template shows of a week's published run.

Used by the report's stage. The entry point is `gather_facts`.
"""

import json
from datetime import date
from pathlib import Path

import pandas as pd

from pipeline.errors import ModelError, WeekError
from pipeline.models.bundle import TrainingData, open_bundle
from pipeline.reporting import charts, report_tables
from pipeline.reporting.report_queries import ReportQueries
from pipeline.reporting.report_tables import Row, records
from pipeline.reporting.sentences import describe_notices, describe_routing, headline
from pipeline.validation.data_docs import run_page
from pipeline.weeks import Week

STAGES = ("plan", "ingest", "validate_sources", "features", "validate_features", "score", "check", "publish")
"""In the order in which they run; jsonb does not keep the order of its keys."""


def gather_facts(queries: ReportQueries, week: Week, home: Path) -> Row:
    """Return the variables of `report.html` for the week; `home` has the run's plan, which names the model's files.

    Raises
    ------
    WeekError
        If the week has no published run.
    """
    published = queries.ask("published", week=str(week)).sort_values("week")
    if week.monday not in set(published["week"]):
        raise WeekError(
            f"The week {week} has no published run.",
            "a week that was published.",
            f"run it first: barometer run --week {week}.",
        )
    weeks = [str(monday) for monday in published["week"]]
    before = weeks[-2] if len(weeks) > 1 else str(week.plus(-1))
    run_id = published["run_id"].iloc[-1]
    run = queries.ask("run", run_id=run_id).iloc[0].to_dict()
    by_product = queries.ask("by_product", recent_weeks=weeks)
    return {
        "week": week.monday,
        "run": run,
        **_satisfaction(by_product, published),
        **_movement(queries, by_product, week.monday, before),
        "tenths": report_tables.tenths(queries.ask("distribution", week=str(week), week_before=before)),
        "at_risk": report_tables.at_risk(queries.ask("at_risk", week=str(week), week_before=before)),
        "quarantine": records(queries.ask("quarantine", run_id=run_id)),
        "rejects": records(queries.ask("rejects", run_id=run_id)),
        **_evidence(run),
        "routing": _routing(queries, run, week),
        "training": _training(home / "runs" / run_id / "plan.json"),
        "data_docs": f"../{run_page(run_id)}",
        "sql": queries.sql | {"quarantined": queries.show("quarantined", run_id=run_id)},
    }


def _satisfaction(by_product: pd.DataFrame, published: pd.DataFrame) -> Row:
    is_total = by_product["product_id"].isna()
    weeks = published.merge(by_product[is_total].drop(columns="product_id"), on="week", how="left")
    weeks = weeks.fillna({"subjects": 0, "likely_dissatisfied": 0, "quarantined": 0})
    total = report_tables.line("All products", weeks.set_index("week"))
    products = report_tables.product_lines(by_product[~is_total], list(weeks["week"]))
    trend, axis = charts.trend(total["weeks"])
    return {
        "weeks": records(weeks),
        "before": records(weeks)[-2] if len(weeks) > 1 else None,
        "headline": headline(total["satisfaction"], total["change"]),
        "total": total,
        "lines": report_tables.add_sparklines([total, *products]),
        "products": sum(line["products"] for line in products),
        "trend": trend,
        "axis": axis,
    }


def _movement(queries: ReportQueries, by_product: pd.DataFrame, week: date, before: str) -> Row:
    fell, rose = report_tables.largest_moves(by_product.dropna(subset="product_id"), week, date.fromisoformat(before))
    flow = queries.ask("flow", week=str(week), week_before=before)
    return {"flow": records(flow)[0], "fell": fell, "rose": rose}


def _evidence(run: Row) -> Row:
    sources = [{"name": name, **source} for name, source in sorted((run["sources"] or {}).items())]
    results = run["validation"]
    warnings = [result for result in results if result["status"] == "failed" and result["severity"] == "warning"]
    return {
        "sources": sources,
        "results": results,
        "warnings": warnings,
        "stages": [stage for stage in STAGES if stage in run["stage_seconds"]],
        "notices": describe_notices(run, sources, len(warnings)),
    }


def _routing(queries: ReportQueries, run: Row, week: Week) -> str:
    served_by = queries.ask("served_by", week=str(week))
    return describe_routing(run["routing"], served_by.groupby("part")["subjects"].sum().to_dict())


def _training(plan_file: Path) -> TrainingData | None:
    """Return what the model was trained on; None if its files have been removed."""
    try:
        plan = json.loads(plan_file.read_text(encoding="utf-8"))
        return open_bundle(Path(plan["bundle"]), plan["bundle_digest"]).training
    except (FileNotFoundError, ModelError):
        return None
