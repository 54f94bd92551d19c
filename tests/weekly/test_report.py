"""The report on a real warehouse: its text, the run that it shows, and its queries."""

import html
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text

from pipeline.errors import WeekError
from pipeline.models.bundle import TrainingData, seal
from pipeline.reporting import week_report
from pipeline.reporting.report_facts import ReportQueries
from pipeline.reporting.week_report import write_report
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.warehouse.query import run_query
from pipeline.warehouse.runs import record_stages
from pipeline.weekly.report import report
from pipeline.weeks import Week
from tests.published import Subject, publish_week

WEEK = Week.parse("2026-01-12")
BEFORE = [("c1", "p1", 0.9, None), ("c2", "p1", 0.7, None), ("c3", "p2", 0.6, None), ("gone", "p2", 0.6, None)]
NOW: list[Subject] = [
    ("c1", "p1", 0.9, '{"name": "Ada", "segment": null}'),
    ("c2", "p1", 0.3, None),
    ("c3", "p2", 0.6, None),
    ("new", "p2", 0.4, None),
]
SOURCE = {
    "files": [{"uri": "events.csv", "size_bytes": 1, "digest": "e" * 64, "rows": 9, "rejects": 1, "parquet": "x"}],
    "new_rejects": 1,
    "timeless": True,
    "undeclared_columns": ["colour"],
}
WARNING = {
    "stage": "validate_features",
    "suite": "features",
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "kind"},
    "severity": "warning",
    "status": "failed",
    "observed": "2 of 5 rows",
    "expected": "no null",
    "unexpected_rows": 2,
}


def texts(path: Path) -> str:
    """The text of a page, without its tags."""
    page = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def statements(path: Path) -> set[str]:
    return {html.unescape(sql) for sql in re.findall(r"<pre><code>(.*?)</code></pre>", path.read_text(), re.DOTALL)}


@pytest.fixture
def two_weeks(warehouse_settings: Settings) -> Path:
    """The report of the second of two weeks."""
    publish_week(warehouse_settings, WEEK.plus(-1), BEFORE)
    plan, published = publish_week(
        warehouse_settings,
        WEEK,
        NOW,
        quarantined={("bad", "p2"): ["amount is too high"], ("worse", "p2"): ["amount is too high", "twice"]},
        sources={"events": SOURCE},
        validation=[WARNING],
        trained_after_cutoff=True,
    )
    with transaction(warehouse_settings) as connection:
        connection.execute(
            text("INSERT INTO rejects VALUES ('events', :digest, 7, 'events.csv', 'no date', 'x,y', :run_id)"),
            {"digest": "e" * 64, "run_id": plan.run_id},
        )
    for stage, seconds in (("ingest", 1.25), ("score", 75), ("validate_sources", 0.5)):
        costs = {"seconds": {stage: seconds}, "peak_mib": {stage: 512}}
        record_stages(warehouse_settings, plan.run_id, **costs, facts={})
    return report(warehouse_settings, plan, published).report


def test_it_says_how_the_week_was(two_weeks: Path):
    words = texts(two_weeks)

    assert "Satisfaction fell 15.0 points to 55.0%." in words
    assert "2 of 4 subjects (50.0%) are likely dissatisfied, 2 more than in the week of 5 January 2026." in words
    assert (
        "1 subject became likely dissatisfied and 0 became likely satisfied. 1 subject of this week was not in" in words
    )
    assert re.search(r"All products 55\.0% ▼ .15\.0 Satisfaction of All products by week From 70\.0%", words)
    assert "Fell Product Change, points Now p1 ▼ \N{MINUS SIGN}20.0 60.0% p2 ▼ \N{MINUS SIGN}10.0 50.0%" in words
    assert "c2 p1 30.0% ▼ \N{MINUS SIGN}40.0 new p2 40.0% new" in words
    assert "name Ada" in words
    assert "segment" not in words, "an info field without a value is not shown"


def test_it_names_all_sources_without_times_and_shows_warnings_about_whole_tables(warehouse_settings: Settings):
    about_rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 9}}
    about_pairs = {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["kind", "amount"]}}
    plan, published = publish_week(
        warehouse_settings,
        WEEK,
        NOW,
        sources={"lists": SOURCE, "events": SOURCE, "plans": SOURCE, "answers": {**SOURCE, "timeless": False}},
        validation=[WARNING | about_rows, WARNING | about_pairs],
    )
    words = texts(report(warehouse_settings, plan, published).report)

    assert "No times are declared for “events”, “lists” and “plans”. Changes there" in words
    assert "features expect table row count to be between 2 of 5 rows" in words
    assert "features expect compound columns to be unique on kind , amount 2 of 5 rows" in words


def test_it_says_what_was_kept_out_and_what_to_know(two_weeks: Path):
    words = texts(two_weeks)

    assert "2 subjects quarantined of 6 Reason Subjects amount is too high 2 twice 1" in words
    assert "1 reject among 10 lines of the sources Source Reason Lines events no date 1" in words
    assert "The model has seen later data: version 1" in words
    assert "No times are declared for “events”. Changes" in words
    assert "undeclared columns, which are ignored: colour." in words
    assert "1 warning from 1 expectation Suite Expectation Found features expect column values" in words
    assert f"Run {WEEK}.1" in words
    assert "d" * 64 in words
    assert "ingest 1.2 s 512 validate sources 0.5 s 512 score 1 min 15 s 512" in words


def test_each_number_comes_with_the_sql_that_gives_it(two_weeks: Path, warehouse_settings: Settings):
    asked = statements(two_weeks)

    assert len(asked) >= 8
    for sql in asked:
        assert not set('"$`\\!') & set(sql), "a shell must leave it alone within double quotes"
        assert run_query(warehouse_settings, sql).num_rows, sql


def test_it_tells_until_when_the_model_was_trained(warehouse_settings: Settings):
    bundle = warehouse_settings.home / "models" / "1"
    bundle.mkdir(parents=True)
    trained = {"cutoff": "2025-12-28T23:00:00Z", "rows": 77, "digest": "t" * 64, "train_weeks": ["2025-12-15"]}
    training = TrainingData.model_validate({**trained, "validation_weeks": ["2025-12-22"], "test_weeks": []})
    digest = seal(bundle, features=[], training=training, parameters={}, metrics={}, code_version="1.2.3", libraries={})
    plan, published = publish_week(warehouse_settings, WEEK, NOW, bundle_digest=digest)
    path = report(warehouse_settings, plan, published).report
    assert "Trained until its files are no longer on this machine" in texts(path)

    (plan.folder / "plan.json").write_text(plan.model_dump_json())

    words = texts(report(warehouse_settings, plan, published).report)
    assert "Trained until 29 December 2025, 00:00 CET, on 77 rows of 2 weeks" in words


def test_the_list_names_every_week_newest_first(two_weeks: Path, warehouse_settings: Settings):
    write_report(warehouse_settings, WEEK.plus(-1))

    index = two_weeks.with_name("index.html")

    assert re.findall(r'rowheader"><a href="(.*?)"', index.read_text()) == [f"{WEEK}.html", f"{WEEK.plus(-1)}.html"]
    assert "Satisfaction fell 15.0 points to 55.0%." in texts(index)


def test_a_week_without_a_published_run_is_refused(warehouse_settings: Settings):
    publish_week(warehouse_settings, WEEK, NOW)

    with pytest.raises(WeekError, match="2026-01-19 has no published run"):
        write_report(warehouse_settings, WEEK.plus(1))


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        ([], "No subject was scored this week."),
        ([("c", "p", 0.5, None)], "Satisfaction stands at 50.0%."),
        ([(f"c{i}", f"p{i}", i / 300, None) for i in range(300)], "281 other products"),
        ([("c" * 1000, "p" * 1000, 0.1, json.dumps({"note": "n" * 5000}))], "p" * 1000),
        ([("顧客", "منتج", 0.1, '{"name": "Łucja"}')], "顧客 name Łucja"),
    ],
)
def test_any_company_has_a_report(subjects: list[Subject], said: str, warehouse_settings: Settings):
    plan, published = publish_week(warehouse_settings, WEEK, subjects, quarantined={("q", "p"): ["reason"]})

    assert said in texts(report(warehouse_settings, plan, published).report)


def test_text_of_the_data_stays_text(warehouse_settings: Settings):
    evil = """</td></style><script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}"""
    reason = {**WARNING, "observed": evil, "kwargs": {"column": evil}}
    source = {"events": {**SOURCE, "files": [{**SOURCE["files"][0], "uri": evil}], "undeclared_columns": [evil]}}
    plan, published = publish_week(
        warehouse_settings.model_copy(update={"company": evil}),
        WEEK,
        [(evil, evil, 0.2, json.dumps({evil: evil}))],
        quarantined={("q", evil): [evil]},
        validation=[reason],
        sources=source,
        model_reason=evil,
    )

    path = report(warehouse_settings.model_copy(update={"company": evil}), plan, published).report

    for page in (path.read_text(), path.with_name("index.html").read_text()):
        assert "<script" not in page
        assert "<img" not in page
        assert page.count("</style>") == 1
        assert "&lt;script&gt;alert(1)" in page


def test_a_superseded_run_reports_the_run_that_took_its_place(warehouse_settings: Settings):
    first = publish_week(warehouse_settings, WEEK, NOW)
    second, _ = publish_week(warehouse_settings, WEEK, BEFORE)

    path = report(warehouse_settings, *first).report

    assert f"Run {second.run_id}" in texts(path)
    assert "Satisfaction stands at 70.0%" in texts(path)


def test_a_slow_report_of_an_older_run_never_replaces_a_newer_one(
    warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    first = publish_week(warehouse_settings, WEEK, NOW)
    has_read, may_write, render = Event(), Event(), week_report.render

    def slowly(settings: Settings, template: str, **facts: object) -> str:
        if template == "report.html" and not has_read.is_set():
            has_read.set()
            assert may_write.wait(60)
        return render(settings, template, **facts)

    monkeypatch.setattr(week_report, "render", slowly)
    with ThreadPoolExecutor() as pool:
        older = pool.submit(report, warehouse_settings, *first)
        assert has_read.wait(60)
        second = publish_week(warehouse_settings, WEEK, BEFORE)
        newer = pool.submit(report, warehouse_settings, *second)
        while not newer.done() and not _somebody_waits(warehouse_settings):
            pass
        may_write.set()
        older.result(), newer.result()

    assert f"Run {second[0].run_id}" in texts(newer.result().report)


def _somebody_waits(settings: Settings) -> bool:
    with transaction(settings) as connection:
        return bool(connection.execute(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")).scalar_one())


def test_a_publish_while_it_reads_is_not_mixed_in(warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    first, published = publish_week(warehouse_settings, WEEK, NOW)
    ask = ReportQueries.ask

    def ask_and_be_overtaken(self: ReportQueries, name: str, **values: str | list[str]) -> object:
        answer = ask(self, name, **values)
        if name == "run":
            publish_week(warehouse_settings, WEEK, BEFORE)
        return answer

    monkeypatch.setattr(ReportQueries, "ask", ask_and_be_overtaken)

    words = texts(report(warehouse_settings, first, published).report)

    assert f"Run {first.run_id}" in words
    assert "Satisfaction stands at 55.0%" in words
    assert "c2 p1 30.0%" in words
