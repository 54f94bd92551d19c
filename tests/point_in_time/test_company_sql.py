"""A company's SQL reads its sources and nothing else, and returns the same rows at every run."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import FeatureError
from pipeline.point_in_time.company_sql import CompanyQuery, company_query

OFFERED = {"week_start": datetime(2026, 3, 2, tzinfo=UTC), "week_end": datetime(2026, 3, 9, tzinfo=UTC)}


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str], CompanyQuery]:
    def check(sql: str) -> CompanyQuery:
        path = tmp_path / "features.sql"
        path.write_text(sql, encoding="utf-8")
        with duckdb.connect() as con:
            return company_query(con, path, {"events": None}, OFFERED)

    return check


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM events -- a comment at the end",
        "FROM events SELECT a;",
        "WITH recent AS (SELECT a FROM Events) SELECT max(a) FROM recent UNION ALL SELECT 1",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r",
        "SELECT (SELECT max(a) FROM events AS e WHERE e.b = o.b) FROM events AS o",
        "SELECT * FROM events ASOF JOIN (SELECT unnest(range(3)) AS a) AS r USING (a), generate_series(1, 2)",
        "SELECT age(a, b), list_transform([a], lambda x: x + 1), e.current_date FROM events AS e",
    ],
)
def test_what_is_allowed(check: Callable[[str], CompanyQuery], sql: str) -> None:
    assert check(sql).parameters == {}


@pytest.mark.parametrize("end", ["", ";", " ;\n-- the end;", "; /* ; */ ;\n", " -- no semicolon"])
def test_what_follows_the_statement_is_cut_off(check: Callable[[str], CompanyQuery], end: str) -> None:
    statement = "-- é;\nSELECT '--é;' AS a, a -- ;\nFROM events WHERE b <> ';'"
    assert check(statement + end).sql == statement


def test_it_gets_the_parameters_it_uses(check: Callable[[str], CompanyQuery]) -> None:
    assert check("SELECT a FROM events WHERE b < $week_end").parameters == {"week_end": OFFERED["week_end"]}


@pytest.mark.parametrize(
    "relation",
    [
        "'events.parquet'",
        "\"/home/x/ingested/events/1.parquet\"",
        "read_parquet('events.parquet')",
        "read_csv('x.csv')",
        "glob('*')",
        "query('SELECT 1')",
        "query_table('x')",
        "other",
        "raw.events",
        "duckdb_settings()",
        "information_schema.tables",
        "(SUMMARIZE 'events.parquet')",
        "(SELECT 1 WHERE EXISTS (FROM 'x.csv'))",
    ],
)  # fmt: skip
def test_what_it_may_not_read(check: Callable[[str], CompanyQuery], relation: str) -> None:
    with pytest.raises(FeatureError, match=r"selects from .* Expected: only the sources: events"):
        check(f"SELECT * FROM events, {relation}")


def test_a_name_given_elsewhere_opens_no_file(check: Callable[[str], CompanyQuery]) -> None:
    with pytest.raises(FeatureError, match=r"selects from x\.csv"):
        check('SELECT * FROM (WITH "x.csv" AS (SELECT 1) SELECT * FROM "x.csv"), \'x.csv\'')


@pytest.mark.parametrize(
    "expression",
    ["now()", "current_date", "current_timestamp", "localtimestamp", "today()", "random()", "uuid()", "age(a)",
     "getvariable('x')", "current_setting('threads')"],
)  # fmt: skip
def test_what_differs_from_run_to_run(check: Callable[[str], CompanyQuery], expression: str) -> None:
    with pytest.raises(FeatureError, match="which differs from run to run"):
        check(f"SELECT a FROM events ORDER BY {expression}")


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELEC 1", "cannot be parsed: syntax error"),
        ("", "holds 0 statements"),
        ("-- nothing", "holds 0 statements"),
        ("SELECT 1; SELECT 2", "holds 2 statements"),
        ("CREATE TABLE x AS SELECT 1", "cannot be parsed: Only SELECT statements"),
        ("COPY events TO 'x.csv'", "cannot be parsed"),
        ("SET threads = 8", "cannot be parsed"),
        ("SELECT $weekend FROM events", r"uses the parameter \$weekend\. Expected: only the parameters \$week_end, "),
        ("SELECT ? FROM events", r"uses the parameter \$1"),
    ],
)
def test_other_refusals(check: Callable[[str], CompanyQuery], sql: str, found: str) -> None:
    with pytest.raises(FeatureError, match=rf"features\.sql {found}"):
        check(sql)


def test_an_absent_file(tmp_path: Path) -> None:
    with duckdb.connect() as con, pytest.raises(FeatureError, match=r"absent\.sql cannot be read"):
        company_query(con, tmp_path / "absent.sql", {"events": None}, OFFERED)
