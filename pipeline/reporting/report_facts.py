"""The report's facts: everything that its template shows of a week's published run.

Each query is a file of `sql/report/`: one statement with `$names` for weeks and runs. The names are replaced by
literals, not parameters, so that a reader can paste the statement from the page into `barometer query`. Used by
`pipeline.reporting.week_report`. The entry points are `ReportQueries` and `gather_facts`.
"""

import json
from datetime import date
from pathlib import Path
from string import Template

import pandas as pd
from sqlalchemy import Connection

from pipeline.duck import literal
from pipeline.errors import ModelError, WeekError
from pipeline.models.bundle import TrainingData, open_bundle
from pipeline.reporting import charts, report_tables
from pipeline.reporting.report_tables import Row, records
from pipeline.reporting.sentences import describe_notices, describe_routing, headline
from pipeline.settings import ROOT
from pipeline.validation.data_docs import run_page
from pipeline.weeks import Week

FOLDER = ROOT / "sql" / "report"
STAGES = ("plan", "ingest", "validate_sources", "features", "validate_features", "score", "check", "publish")
"""In the order in which they run; jsonb does not keep the order of its keys."""


class ReportQueries:
    """Queries in one transaction of the warehouse; `sql` keeps each statement by the name of its file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sql: dict[str, str] = {}

    def ask(self, name: str, **values: str | list[str]) -> pd.DataFrame:
        """Return the result of the statement in `sql/report/<name>.sql`, with `values` for its `$names`."""
        answer = self._connection.execution_options(no_parameters=True).exec_driver_sql(self.show(name, **values))
        return pd.DataFrame.from_records(answer.all(), columns=list(answer.keys()), coerce_float=True)

    def show(self, name: str, **values: str | list[str]) -> str:
        """Return the statement without running it, to be shown on the page."""
        template = Template((FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
        self.sql[name] = template.substitute({key: _literals(value) for key, value in values.items()}).rstrip()
        return self.sql[name]


def gather_facts(queries: ReportQueries, week: Week, home: Path) -> Row:
    """Return the variables of `report.html` for the week; `home` has the run's plan, which names the model's files."""
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
    if not (run["routing"] or {}).get("challenger"):  # the champion served every subject, so there is nothing to count
        queries.show("served_by", week=str(week))
        return describe_routing(run["routing"], {})
    served_by = queries.ask("served_by", week=str(week))
    return describe_routing(run["routing"], served_by.groupby("part")["subjects"].sum().to_dict())


def _training(plan_file: Path) -> TrainingData | None:
    """Return what the model was trained on; None if its files have been removed."""
    try:
        plan = json.loads(plan_file.read_text(encoding="utf-8"))
        return open_bundle(Path(plan["bundle"]), plan["bundle_digest"]).training
    except (FileNotFoundError, ModelError):
        return None


def _literals(value: str | list[str]) -> str:
    return ", ".join(literal(text) for text in ([value] if isinstance(value, str) else value))
