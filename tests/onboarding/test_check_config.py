"""`barometer config check`: reports what is missing or odd in plain words, before anything runs."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.onboarding.check_config import check_config
from pipeline.onboarding.check_sources import read_each, source_findings
from pipeline.onboarding.findings import Finding
from pipeline.settings import load_settings
from pipeline.weeks import Week
from tests.company import FIRST_WEEK

LAST = FIRST_WEEK.plus(9)


@pytest.fixture
def mine(company: Path, tmp_path: Path) -> Path:
    """A copy of the test company that a test may damage."""
    return shutil.copytree(company, tmp_path / "mine")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def environ(folder: Path) -> dict[str, str]:
    return {"BAROMETER_CONFIG": str(folder / "pipeline.toml"), "BAROMETER_HOME": str(folder / "home")}


def checked(folder: Path, week: Week | None = None) -> list[Finding]:
    return check_config(load_settings(environ(folder)), week, environ(folder), lambda _: None)


def of_sources(folder: Path) -> list[Finding]:
    settings = load_settings(environ(folder))
    manifest, refused = read_each(settings, LAST)
    return [*refused, *source_findings(settings, manifest)]


def said(findings: list[Finding], severity: str, about: str) -> str:
    return "\n".join(f"{f.found} {f.do}" for f in findings if (f.severity, f.about) == (severity, about))


def test_a_sound_company_has_remarks_only_and_leaves_nothing_behind(mine):
    findings = checked(mine)
    assert {finding.severity for finding in findings} == {"remark"}
    assert list((mine / "home/tmp").iterdir()) == []
    assert list((mine / "home/training").iterdir()) == []


def test_a_column_that_the_sql_uses_and_no_source_declares(mine):
    edit(mine / "sql/features.sql", "max(kind)", "max(colour)")
    found = said(checked(mine), "problem", "features.sql")
    assert "uses the column colour, which none of its sources declares" in found
    assert "correct its name" in found


def test_a_column_that_only_waits_to_be_declared_is_said_so(mine):
    edit(mine / "pipeline.toml", 'kind = "text"\n', "")
    findings = checked(mine)
    found = said(findings, "problem", "features.sql")
    assert "uses the column kind" in found
    assert "declare it in [sources.events.columns], whose file has it" in found
    assert "undeclared columns, which are not read: kind" in said(findings, "remark", "source events")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("about_week AS week", "about_week + 1 AS week", "which is not a Monday"),
        ("customer_id,", "upper(customer_id) AS customer_id,", "features.sql does not return"),
        ("FROM answers", "FROM answers WHERE answer > 5", "returns no rows, so nothing can be learned"),
    ],
)
def test_labels_that_cannot_be_joined(mine, old, new, words):
    edit(mine / "sql/labels.sql", old, new)
    assert words in said(checked(mine), "problem", "labels.sql")


def test_subjects_that_stand_there_twice(mine):
    edit(mine / "sql/features.sql", "GROUP BY customer_id, product_id", "GROUP BY customer_id, product_id, happened_at")
    found = checked(mine)
    assert "some subjects are there twice" in said(found, "problem", "features.sql")
    assert "would be kept out" in said(found, "problem", "features.json")


def test_features_that_say_nothing_and_segments_that_are_not_there(mine):
    edit(mine / "sql/features.sql", "sum(amount) AS amount", "sum(amount) AS amount, 7 AS lucky, NULL::INT AS gone")
    edit(mine / "pipeline.toml", "[model]\n", '[model]\nsegments = ["region"]\n')
    found = checked(mine)
    assert "the feature lucky has the same value in every row" in said(found, "remark", "features.sql")
    assert "the feature gone is NULL in every row" in said(found, "remark", "features.sql")
    assert "returns no text region" in said(found, "problem", "training")


def test_suites_that_name_unknown_columns_or_are_for_no_source(mine):
    suite = mine / "expectations/sources/events.json"
    edit(suite, "expect_table_row_count_to_be_between", "expect_column_max_to_be_between")
    edit(suite, '"min_value": 1', '"column": "price", "min_value": 1')
    shutil.copy(suite, suite.with_name("evnts.json"))
    (mine / "expectations/predictions.json").write_text("{")
    found = checked(mine)
    assert "there is no column price" in said(found, "problem", "source events")
    assert "evnts.json" in said(found, "problem", "expectations")
    assert "predictions.json is not JSON" in said(found, "problem", "expectations")


def test_a_profile_that_is_wrong_is_found_before_it_is_chosen(mine):
    with (mine / "pipeline.toml").open("a") as file:
        file.write("[profile.production.budget]\nrows = 1\n")
    assert "budget.rows" in said(checked(mine), "problem", "[profile.production]")


def test_a_missing_file_does_not_hide_what_else_is_wrong(mine):
    for file in mine.glob("landing/events-*.csv"):
        file.unlink()
    edit(mine / "pipeline.toml", 'answer = "integer"', 'answr = "integer"')
    found = checked(mine, LAST)
    assert "there is no file" in said(found, "problem", "source events")
    assert "'answr'" in said(found, "problem", "source answers")
    assert "not every source could be read" in said(found, "remark", "features.sql")


def test_keys_without_values_and_with_spaces(mine):
    file = mine / f"landing/events-{LAST}.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines) + f",p1,{LAST} 10:00:00,1.00,a\n" + f" c0001,p1,{LAST} 10:00:00,1.00,a\n")
    found = of_sources(mine)
    assert "the key customer_id is empty in 1 of" in said(found, "remark", "source events")
    assert "1 values of customer_id have spaces" in said(found, "remark", "source events")
    file.write_text("".join(lines) + f",p1,{LAST} 10:00:00,1.00,a\n" * 50)
    assert "the key customer_id is empty in 50 of" in said(of_sources(mine), "problem", "source events")


def test_a_source_without_times_a_column_that_is_empty_and_keys_of_two_types(mine):
    edit(mine / "pipeline.toml", 'event_time = "answered_at"\n', "")
    edit(mine / "pipeline.toml", 'answers.columns]\ncustomer_id = "text"', 'answers.columns]\ncustomer_id = "integer"')
    answer = {"customer_id": 7, "product_id": None, "about_week": None, "answer": 1, "answered_at": None}
    (mine / "landing/answers.jsonl").write_text(json.dumps(answer) + "\n")
    found = of_sources(mine)
    assert "has no times" in said(found, "remark", "source answers")
    assert "the column about_week is empty in every row" in said(found, "remark", "source answers")
    assert "007 and 7" in said(found, "remark", "column customer_id")


def test_lines_that_cannot_be_read_and_times_that_are_to_come(mine):
    file = mine / f"landing/events-{LAST}.csv"
    with file.open("a") as lines:
        lines.write("c1,p1,2100-01-01 10:00:00,1.00,a\n" + "c1,p1,soon,1.00,a\n" * 2)
    found = of_sources(mine)
    assert "1 rows have a happened_at in the future" in said(found, "remark", "source events")
    assert "2 of 202 lines cannot be read" in said(found, "remark", "source events")
    with file.open("a") as lines:
        lines.write("c1,p1,soon,1.00,a\n")
    assert "its budget is 2" in said(of_sources(mine), "problem", "source events")


def test_sql_that_is_not_text(mine):
    (mine / "sql/features.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    found = checked(mine)
    assert "features.sql" in said(found, "problem", "features.sql")
    assert "neither query uses it" in said(found, "remark", "source events")
