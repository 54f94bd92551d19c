"""Validate sources: the week's rows of each source against its suite and the weeks before."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.errors import ConfigError, ExpectationError
from pipeline.orchestration.run_facts import run_facts
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.validation.data_docs import run_page
from pipeline.validation.verdicts import verdicts_so_far
from pipeline.warehouse import transaction
from pipeline.warehouse.runs import open_run, run, update_run
from pipeline.weekly.handoffs import Ingested, Plan, SourcesValidated
from pipeline.weekly.validate_sources import validate_sources
from tests.handmade import WEEK, make_plan, make_run

EVENTS = f"events-{WEEK}.csv"
ROW_COUNT = "expect_table_row_count_to_be_between"
USUAL_ROWS = {
    "type": ROW_COUNT,
    "kwargs": {"min_value": {"$PARAMETER": "recent_rows * 0.5"}, "max_value": {"$PARAMETER": "recent_rows * 1.5"}},
    "severity": "critical",
}
FRESH = {
    "type": "expect_column_max_to_be_between",
    "kwargs": {"column": "happened_at", "min_value": {"$PARAMETER": "cutoff - timedelta(days=1)"}},
    "severity": "critical",
}


@pytest.fixture
def our_settings(our_settings: Settings) -> Settings:
    """With one suite, for `events`."""
    write_suite(our_settings.config_file.parent, "events", USUAL_ROWS, FRESH)
    return our_settings


def write_suite(company: Path, source: str, *expectations: dict[str, Any]) -> None:
    suite = {"name": source, "expectations": expectations}
    (company / f"expectations/sources/{source}.json").write_text(json.dumps(suite))


def validated(settings: Settings) -> tuple[SourcesValidated, Plan]:
    plan = make_run(settings)
    manifest = read_sources(settings, WEEK)
    manifest.write(plan.folder / "sources.json")
    ingested = Ingested(manifest=plan.folder / "sources.json", lines=0, rows=0, rejects=0)
    return validate_sources(settings, plan, ingested), plan


def recorded(settings: Settings, plan: Plan) -> dict[str, list[str]]:
    """Return the statuses by suite, as they are on record if the run was stopped, else as the stage wrote them."""
    statuses: dict[str, list[str]] = {}
    for row in run(settings, plan.run_id).validation or verdicts_so_far(plan.folder):
        statuses.setdefault(row["suite"], []).append(row["status"])
    return statuses


def rewrite_week(settings: Settings, change: Any) -> None:
    """Let `change` make the week's rows of events from what they are."""
    file = settings.landing / EVENTS
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([header, *change(lines)]) + "\n")


def test_an_ordinary_week_passes(our_settings: Settings) -> None:
    answer, plan = validated(our_settings)
    assert recorded(our_settings, plan) == {"sources/events": ["passed", "passed"], "sources/answers": ["skipped"]}
    assert (answer.expectations, answer.warnings) == (3, 0)
    assert "no suite" in (our_settings.site / run_page(plan.run_id)).read_text()


@pytest.mark.parametrize("change", [lambda lines: lines[::5], lambda lines: lines * 2, lambda _: []])
def test_a_feed_that_is_mostly_empty_or_doubled_stops_the_run_after_the_evidence(
    our_settings: Settings, change: Any
) -> None:
    rewrite_week(our_settings, change)
    with pytest.raises(ExpectationError) as caught:
        validated(our_settings)
    assert f"sources/events: {ROW_COUNT} found" in caught.value.found
    assert "min_value=" in caught.value.expected
    assert "index.html" in caught.value.do
    assert recorded(our_settings, make_plan(our_settings))["sources/events"][0] == "failed"


def test_a_feed_that_ends_early_stops_the_run(our_settings: Settings) -> None:
    early = [str(WEEK.monday + timedelta(days=day)) for day in range(6)]
    days_of_sunday = str(WEEK.monday + timedelta(days=6))
    rewrite_week(our_settings, lambda lines: [line.replace(days_of_sunday, early[5]) for line in lines])
    with pytest.raises(ExpectationError, match="expect_column_max_to_be_between on happened_at found 2026-03-07"):
        validated(our_settings)


def test_only_the_rows_of_the_week_are_looked_at(our_settings: Settings) -> None:
    bounds = {"min_value": {"$PARAMETER": "week_start"}, "max_value": {"$PARAMETER": "cutoff"}, "strict_max": True}
    in_the_week = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "happened_at", **bounds}}
    write_suite(our_settings.config_file.parent, "events", {**in_the_week, "severity": "critical"})
    before, after = WEEK.monday - timedelta(days=1), WEEK.monday + timedelta(days=7)
    strays = [f"c9999,p0,{before} 23:59:59,1.00,a", f"c9999,p0,{after} 00:00:00,1.00,a"]
    rewrite_week(our_settings, lambda lines: [*lines, *strays])
    _, plan = validated(our_settings)
    assert recorded(our_settings, plan)["sources/events"] == ["passed"]


def test_a_failing_warning_is_recorded_and_lets_the_run_go_on(our_settings: Settings) -> None:
    write_suite(our_settings.config_file.parent, "events", {**USUAL_ROWS, "severity": "warning"})
    rewrite_week(our_settings, lambda lines: lines * 2)
    answer, plan = validated(our_settings)
    assert answer.warnings == 1
    assert recorded(our_settings, plan)["sources/events"] == ["failed"]


def test_a_first_week_that_the_data_has_only_in_part_does_not_count(our_settings: Settings) -> None:
    write_suite(our_settings.config_file.parent, "answers", USUAL_ROWS)
    rows = [
        {"customer_id": "c1", "product_id": "p1", "about_week": None, "answer": 3, "answered_at": f"{day}T09:00:00"}
        for weeks, number in ((-2, 10), (-1, 100), (0, 100))
        for day in [WEEK.plus(weeks).monday + timedelta(days=2)] * number
    ]
    (our_settings.landing / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, plan = validated(our_settings)
    assert recorded(our_settings, plan)["sources/answers"] == ["passed"]


def test_weeks_whose_files_are_not_read_do_not_count(our_settings: Settings) -> None:
    stragglers = [f"c9999,p0,{WEEK.plus(-weeks).monday} 12:00:00,1.00,a\n" for weeks in range(4, 9)]
    with (our_settings.landing / f"events-{WEEK.plus(-3)}.csv").open("a") as file:
        file.writelines(stragglers)
    _, plan = validated(our_settings)
    assert recorded(our_settings, plan)["sources/events"] == ["passed", "passed"]


def test_without_history_the_comparison_is_skipped(our_settings: Settings) -> None:
    for file in our_settings.landing.glob("events-*.csv"):
        if file.name != EVENTS:
            file.unlink()
    _, plan = validated(our_settings)
    assert sorted(recorded(our_settings, plan)["sources/events"]) == ["passed", "skipped"]


def test_a_source_without_times_is_compared_with_published_runs(our_settings: Settings) -> None:
    untimed = our_settings.sources["answers"].model_copy(update={"event_time": None})
    settings = our_settings.model_copy(update={"sources": our_settings.sources | {"answers": untimed}})
    write_suite(settings.config_file.parent, "answers", USUAL_ROWS)
    _, plan = validated(settings)
    assert recorded(settings, plan)["sources/answers"] == ["skipped"]
    for weeks, rows in ((-3, 1000), (-2, 1100), (-1, 100_000), (1, 7), (2, 7), (3, 7)):
        record_published(settings, weeks, {"answers": {"files": [{"rows": rows - 1}, {"rows": 1}]}})
    _, plan = validated(settings)  # 1,000 rows, against a median of 1,100: later weeks do not count
    assert recorded(settings, plan)["sources/answers"] == ["passed"]
    record_published(settings, -4, {"answers": {"files": [{"rows": 90_000}]}})
    record_published(settings, -5, {"answers": {"files": [{"rows": 90_000}]}})
    with pytest.raises(ExpectationError):
        validated(settings)


def test_all_rows_of_a_source_have_a_suite_of_their_own(our_settings: Settings) -> None:
    (our_settings.expectations / "sources/whole").mkdir()
    write_suite(our_settings.config_file.parent, "whole/answers", {**USUAL_ROWS, "kwargs": {"min_value": 900}})
    _, plan = validated(our_settings)
    assert recorded(our_settings, plan)["sources/whole/answers"] == ["passed"]  # of them, 100 are of the week
    answers = our_settings.landing / "answers.jsonl"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[::5]))
    with pytest.raises(ExpectationError, match=r"sources/whole/answers: .* found 200"):
        validated(our_settings)


def test_all_rows_of_a_source_are_compared_with_published_runs(our_settings: Settings) -> None:
    (our_settings.expectations / "sources/whole").mkdir()
    write_suite(our_settings.config_file.parent, "answers", USUAL_ROWS)
    write_suite(our_settings.config_file.parent, "whole/answers", USUAL_ROWS)
    record_published(our_settings, -9, {"answers": {"files": [{"rows": 7}]}})  # too long ago
    _, plan = validated(our_settings)
    assert recorded(our_settings, plan)["sources/answers"] == ["passed"]
    assert recorded(our_settings, plan)["sources/whole/answers"] == ["skipped"]
    record_published(our_settings, -8, {"answers": {"files": [{"rows": 5000}]}})
    only_that = r"^1 critical expectation on the sources failed\. sources/whole/answers"
    with pytest.raises(ExpectationError, match=only_that):
        validated(our_settings)


def record_published(settings: Settings, weeks: int, sources: dict[str, Any]) -> None:
    run_id = open_run(settings, week=WEEK.plus(weeks), airflow_run_id=f"before {weeks}")
    update_run(settings, run_id, sources=sources, state="published")


def test_a_reused_snapshot_keeps_the_results_of_the_run_that_made_it(our_settings: Settings) -> None:
    first, plan = validated(our_settings)
    update_run(our_settings, plan.run_id, state="published", **run_facts(plan, first))
    with transaction(our_settings) as connection:
        point = text("INSERT INTO published_weeks (week, run_id) VALUES (:week, :run_id)")
        connection.execute(point, {"week": WEEK.monday, "run_id": plan.run_id})
    again = make_run(our_settings)
    assert again.run_id != plan.run_id
    ingested = Ingested(manifest=None, lines=0, rows=0, rejects=0)
    assert validate_sources(our_settings, again, ingested) == first
    assert recorded(our_settings, again) == recorded(our_settings, plan)


def test_a_suite_for_no_source_is_refused(our_settings: Settings) -> None:
    write_suite(our_settings.config_file.parent, "evnts", USUAL_ROWS)
    with pytest.raises(ConfigError, match=r"evnts\.json, a suite for no source"):
        validated(our_settings)


def test_a_broken_suite_is_named(our_settings: Settings) -> None:
    write_suite(our_settings.config_file.parent, "events", {**FRESH, "kwargs": {"column": "happend_at"}})
    with pytest.raises(ConfigError, match=r"Expectation 1 of .*sources/events\.json.*happend_at"):
        validated(our_settings)
