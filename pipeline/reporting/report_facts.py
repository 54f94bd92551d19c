"""The report's page: everything the template shows, asked in one transaction, for a week's published run.

Used by `pipeline.weekly.report`. The one entry point is `gather_facts`.
"""

from datetime import date
from pathlib import Path

import pandas as pd

from pipeline.errors import ModelError, WeekError
from pipeline.handoffs import Plan
from pipeline.models.bundle import TrainingData, open_bundle
from pipeline.reporting import charts, report_tables
from pipeline.reporting.filters import counted, describe_routing, headline, join_names
from pipeline.reporting.report_queries import ReportQueries
from pipeline.reporting.report_tables import Row, records
from pipeline.validation.data_docs import run_page
from pipeline.weeks import Week

STAGES = ("plan", "ingest", "validate_sources", "features", "validate_features", "score", "check", "publish")
"""In the data's way; jsonb does not keep the order of its keys."""


def gather_facts(questions: ReportQueries, week: Week, home: Path) -> Row:
    """Return what `report.html` shows of the week, by the template's names.

    Parameters
    ----------
    questions
        The warehouse.
    week
        The week.
    home
        Where the run's plan tells which files its model had.

    Raises
    ------
    WeekError
        If the week has no published run.
    """
    published = questions.ask("published", week=str(week)).sort_values("week")
    if week.monday not in set(published["week"]):
        raise WeekError(
            f"The week {week} has no published run.",
            "a week that was published.",
            f"run it first: barometer run --week {week}.",
        )
    weeks = [str(monday) for monday in published["week"]]
    before = weeks[-2] if len(weeks) > 1 else str(week.plus(-1))
    run_id = published["run_id"].iloc[-1]
    run = questions.ask("run", run_id=run_id).iloc[0].to_dict()
    by_product = questions.ask("by_product", recent_weeks=weeks)
    return {
        "week": week.monday,
        "run": run,
        **_satisfaction(by_product, published),
        **_movement(questions, by_product, week.monday, before),
        "tenths": report_tables.tenths(questions.ask("distribution", week=str(week), week_before=before)),
        "at_risk": report_tables.at_risk(questions.ask("at_risk", week=str(week), week_before=before)),
        "quarantine": records(questions.ask("quarantine", run_id=run_id)),
        "rejects": records(questions.ask("rejects", run_id=run_id)),
        **_evidence(run),
        "routing": _routing(questions, run, week),
        "training": _training(home / "runs" / run_id / "plan.json"),
        "data_docs": f"../{run_page(run_id)}",
        "sql": questions.sql | {"quarantined": questions.show("quarantined", run_id=run_id)},
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


def _movement(questions: ReportQueries, by_product: pd.DataFrame, week: date, before: str) -> Row:
    fell, rose = report_tables.largest_moves(by_product.dropna(subset="product_id"), week, date.fromisoformat(before))
    flow = questions.ask("flow", week=str(week), week_before=before)
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
        "notices": _notices(run, sources, len(warnings)),
    }


def _routing(questions: ReportQueries, run: Row, week: Week) -> str:
    served_by = questions.ask("served_by", week=str(week))
    return describe_routing(run["routing"], served_by.groupby("part")["subjects"].sum().to_dict())


def _training(plan_file: Path) -> TrainingData | None:
    """Return what the model was trained on; None when its files were removed since."""
    try:
        plan = Plan.model_validate_json(plan_file.read_text(encoding="utf-8"))
        return open_bundle(plan.bundle, plan.bundle_digest).training
    except (FileNotFoundError, ModelError):
        return None


def _notices(run: Row, sources: list[Row], warnings: int) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    notices = []
    is_ab_test = (run["routing"] or {}).get("mode") == "ab"
    if is_ab_test:
        notices.append("The week is part of an A/B test: two model versions served it; see Model.")
    if run["trained_after_cutoff"]:
        version = "a version that served it" if is_ab_test else f"version {run['model_version']}"
        notices.append(
            f"The model knows of later data: {version} was trained on data from after the end of "
            "this week, so these predictions are better informed than any made at the time could be."
        )
    if timeless := [f"“{source['name']}”" for source in sources if source["timeless"]]:
        notices.append(
            f"No times are declared for {join_names(timeless)}, "
            "so what became known there after the end of the week cannot be hidden from the model."
        )
    for source in sources:
        if source["undeclared_columns"]:
            columns = ", ".join(source["undeclared_columns"])
            notices.append(
                f"The source “{source['name']}” brought columns that nobody declared, ignored here: {columns}."
            )
    if warnings:
        notices.append(f"{counted(warnings, 'expectation')} gave a warning; see Sources and checks.")
    return notices
