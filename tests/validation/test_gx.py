"""Great Expectations on DuckDB: verdicts, counts and failing rows agree, and mistakes are named."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.errors import ConfigError
from pipeline.validation.gx import Evaluated, validate
from pipeline.validation.suites import ExpectationSpec, Suite

ZONE = "Europe/Berlin"
ROWS = """
    SELECT
        CASE WHEN i = 5 THEN 'c4' ELSE 'c' || i END AS customer_id, 'p' || i % 2 AS product_id,
        i::FLOAT AS small, (i * 2)::FLOAT AS large, CASE WHEN i = 9 THEN 'nan'::FLOAT ELSE i::FLOAT END AS odd,
        CASE WHEN i = 7 THEN 'x%y''z' ELSE 'ok' END AS kind, CASE WHEN i < 3 THEN NULL ELSE i END AS "order",
        TIMESTAMPTZ '2026-01-01 00:00:00+01' + INTERVAL (i) HOUR AS happened_at, DATE '2026-01-01' + i::INTEGER AS day
    FROM range(20) AS rows (i)
"""


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = ?", [ZONE])
        con.execute(f"CREATE VIEW features AS {ROWS}")
        yield con


def evaluate(con: duckdb.DuckDBPyConnection, *expectations: tuple[str, dict[str, Any]]) -> Evaluated:
    specs = {at: ExpectationSpec(type=t, kwargs=k, severity="critical") for at, (t, k) in enumerate(expectations)}
    suite = Suite("features", Path("features.json"), specs, {})
    return validate(con, "features", suite, timezone=ZONE, index=["customer_id", "product_id"])


@pytest.mark.parametrize(
    ("kind", "kwargs", "failing"),
    [
        ("expect_column_values_to_be_between", {"column": "small", "min_value": 3, "max_value": 17.5}, 5),
        ("expect_column_values_to_be_between", {"column": "odd", "max_value": 100}, 1),
        ("expect_column_values_to_be_between", {"column": "happened_at", "min_value": "2026-01-01T10:00:00+01:00"}, 10),
        ("expect_column_values_to_be_between", {"column": "day", "min_value": "2026-01-10"}, 9),
        ("expect_column_values_to_not_be_null", {"column": "order"}, 3),
        ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["ok"]}, 1),
        ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["x%y'z"]}, 19),
        ("expect_column_values_to_not_be_in_set", {"column": "small", "value_set": [1, 2]}, 2),
        ("expect_column_values_to_match_regex", {"column": "kind", "regex": "^o"}, 1),
        ("expect_column_values_to_not_match_regex", {"column": "kind", "regex": "%y'"}, 1),
        ("expect_column_values_to_match_like_pattern", {"column": "kind", "like_pattern": "x%"}, 19),
        ("expect_column_value_lengths_to_be_between", {"column": "kind", "min_value": 1, "max_value": 2}, 1),
        ("expect_column_values_to_be_unique", {"column": "customer_id"}, 2),
        ("expect_column_value_z_scores_to_be_less_than", {"column": "small", "threshold": 1, "double_sided": True}, 8),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "large", "column_B": "small"}, 1),
        ("expect_multicolumn_sum_to_equal", {"column_list": ["small", "large"], "sum_total": 3}, 19),
        ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["small", "large"]}, 1),
        ("expect_compound_columns_to_be_unique", {"column_list": ["kind", "product_id"]}, 19),
        ("expect_compound_columns_to_be_unique", {"column_list": ["customer_id", "order"]}, 0),
    ],
)
def test_the_query_returns_the_rows_that_were_counted(
    con: duckdb.DuckDBPyConnection, kind: str, kwargs: dict[str, Any], failing: int
) -> None:
    evaluated = evaluate(con, (kind, kwargs))
    (result,) = evaluated.results
    assert (result.status, result.unexpected_rows) == ("failed" if failing else "passed", failing), result.observed
    rows = [con.execute(query).fetchall() for _, query in evaluated.queries]
    assert [len(found) for found in rows] == ([failing] if failing else [])
    assert all(len(row) == 2 + len(result.columns) for found in rows for row in found)


@pytest.mark.parametrize(
    ("kind", "kwargs", "passes"),
    [
        ("expect_table_row_count_to_be_between", {"min_value": 20, "max_value": 20}, True),
        ("expect_table_row_count_to_be_between", {"min_value": 20.5}, True),  # Great Expectations takes whole rows
        ("expect_table_row_count_to_be_between", {"max_value": 19.5}, False),
        ("expect_column_max_to_be_between", {"column": "happened_at", "min_value": "2026-01-01T18:00:00+00:00"}, True),
        ("expect_column_max_to_be_between", {"column": "happened_at", "min_value": "2026-01-01T19:30:00+01:00"}, False),
        ("expect_column_max_to_be_between", {"column": "day", "min_value": "2026-01-30"}, False),
        ("expect_column_mean_to_be_between", {"column": "small", "min_value": 9, "max_value": 10}, True),
        ("expect_column_median_to_be_between", {"column": "small", "min_value": 100}, False),
        ("expect_column_distinct_values_to_be_in_set", {"column": "kind", "value_set": ["ok"]}, False),
        ("expect_column_proportion_of_unique_values_to_be_between", {"column": "kind", "min_value": 0.9}, False),
        ("expect_column_to_exist", {"column": "nowhere"}, False),
        ("expect_table_columns_to_match_set", {"column_set": ["small"], "exact_match": True}, False),
    ],
)
def test_expectations_on_the_table_name_no_rows(
    con: duckdb.DuckDBPyConnection, kind: str, kwargs: dict[str, Any], passes: bool
) -> None:
    evaluated = evaluate(con, (kind, kwargs))
    (result,) = evaluated.results
    assert (result.status, result.unexpected_rows) == ("passed" if passes else "failed", None), result.observed
    assert evaluated.queries == []


def test_what_was_found_is_said_though_it_is_nothing(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE OR REPLACE VIEW features AS SELECT 1 AS small WHERE false")
    kinds = [
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
        ("expect_column_max_to_be_between", {"column": "small", "min_value": 1}),
    ]
    assert [result.observed for result in evaluate(con, *kinds).results] == ["0", "nothing"]


def test_results_keep_the_order_of_the_suite(con: duckdb.DuckDBPyConnection) -> None:
    kinds = [
        ("expect_column_values_to_not_be_null", {"column": "order"}),
        ("expect_column_to_exist", {"column": "nowhere"}),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ]
    assert [result.type for result in evaluate(con, *kinds).results] == [kind for kind, _ in kinds]


def test_mostly_allows_some_rows_to_fail(con: duckdb.DuckDBPyConnection) -> None:
    evaluated = evaluate(con, ("expect_column_values_to_not_be_null", {"column": "order", "mostly": 0.8}))
    assert (evaluated.results[0].status, evaluated.results[0].unexpected_rows) == ("passed", 3)
    assert evaluated.queries == []


@pytest.mark.parametrize(
    ("kind", "kwargs", "words"),
    [
        ("expect_wonders", {}, "no such expectation"),
        ("expect_column_values_to_be_between", {"column": "small", "minimum": 1}, "minimum"),
        ("expect_column_values_to_be_between", {"min_value": 1}, "column field required"),
        ("expect_column_values_to_not_be_null", {"column": "small", "mostly": 3}, "mostly"),
        ("expect_column_values_to_be_between", {"column": "kind", "min_value": 1}, "VARCHAR"),
        ("expect_column_values_to_match_regex", {"column": "kind", "regex": "("}, "missing )"),
    ],
)
def test_an_expectation_that_cannot_be_evaluated_is_named(
    con: duckdb.DuckDBPyConnection, kind: str, kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(con, ("expect_table_row_count_to_be_between", {"min_value": 1}), (kind, kwargs))
    assert f"Expectation 2 of features.json, {kind}" in caught.value.found
    assert words in caught.value.found
    assert "\n" not in str(caught.value)


def test_it_prints_and_logs_nothing(
    con: duckdb.DuckDBPyConnection, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # The page of this one makes Great Expectations log a traceback.
    evaluate(con, ("expect_column_distinct_values_to_be_in_set", {"column": "kind", "value_set": ["ok"]}))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_the_process_ends_in_silence(tmp_path: Path) -> None:
    script = tmp_path / "validate.py"
    script.write_text(
        "from tests.validation.test_gx import *\n"
        "with duckdb.connect() as con:\n"
        "    con.execute(f'CREATE VIEW features AS {ROWS}')\n"
        "    print(evaluate(con, ('expect_table_row_count_to_be_between', {'min_value': 1})).results[0].status)\n"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("passed\n", "")
