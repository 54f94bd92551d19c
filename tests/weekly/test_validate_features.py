"""Validate features: who is quarantined and why, what stops the run, and that the evidence is there when it stops."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from pipeline.errors import BudgetError, ConfigError, ConservationError, ExpectationError
from pipeline.settings import Settings
from pipeline.validation.data_docs import run_page
from pipeline.validation.verdicts import verdicts_so_far
from pipeline.warehouse import transaction
from pipeline.warehouse.runs import open_run, run, update_run
from pipeline.weekly.handoffs import FeaturesValidated, Plan
from pipeline.weekly.validate_features import validate_features
from pipeline.weeks import Week
from tests.handmade import QUARANTINE_SCHEMA, feature_row, make_run, make_snapshot

INFINITY = float("inf")
BETWEEN = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "amount", "min_value": 0, "max_value": 100},
    "severity": "critical",
}
HAS_KIND = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "kind"}, "severity": "warning"}
GOOD = [feature_row(f"good{number}") for number in range(10)]


@pytest.fixture
def plan(our_settings: Settings) -> Plan:
    return make_run(our_settings)


def validated(
    settings: Settings, plan: Plan, shards: list[Any], *suite: dict[str, Any]
) -> tuple[FeaturesValidated, list[dict[str, Any]]]:
    """Return the stage's answer and the rows of the quarantine's file."""
    (settings.expectations / "features.json").write_text(json.dumps({"name": "features", "expectations": suite}))
    answer = validate_features(settings, plan, make_snapshot(settings.home / "snapshot", shards))
    table = pq.read_table(answer.quarantine)
    assert table.schema.names == QUARANTINE_SCHEMA.names
    assert table.schema.types[:4] == QUARANTINE_SCHEMA.types[:4]
    return answer, table.to_pylist()


def test_the_subjects_of_failing_rows_are_quarantined(our_settings: Settings, plan: Plan) -> None:
    shards = [[*GOOD[:2], feature_row("bad1", amount=-5)], [feature_row("bad2", amount=101.5), *GOOD[2:]]]
    answer, rows = validated(our_settings, plan, shards, BETWEEN, HAS_KIND)
    assert [list(row.values()) for row in rows] == [
        [0, 2, "bad1", "p0", ["expect_column_values_to_be_between on amount: value -5.0"]],
        [1, 0, "bad2", "p0", ["expect_column_values_to_be_between on amount: value 101.5"]],
    ]
    assert (answer.quarantined, answer.warnings) == (2, 0)
    with transaction(our_settings) as connection:
        kept = connection.execute(text("SELECT customer_id, rows FROM quarantine ORDER BY 1")).all()
    assert [(row.customer_id, row.rows[0]["amount"]) for row in kept] == [("bad1", -5), ("bad2", 101.5)]


def test_a_warning_on_rows_or_on_the_table_is_recorded_and_keeps_nobody_out(our_settings: Settings, plan: Plan) -> None:
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "amount", "min_value": 9}}
    shard = [*GOOD, feature_row("no kind", kind=None)]
    answer, rows = validated(our_settings, plan, [shard], BETWEEN, HAS_KIND, {**mean, "severity": "warning"})
    assert (answer.quarantined, rows, answer.warnings) == (0, [], 2)
    assert sum(row["status"] == "failed" for row in verdicts_so_far(plan.folder)) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([feature_row("bad", amount=INFINITY)], "value_is_finite on amount: value inf"),
        ([feature_row("bad", row=-INFINITY)], "value_is_finite on row: value -inf"),
        ([feature_row("bad", row=float("nan"))], "value_is_finite on row: value nan"),
        ([feature_row("")], "key_is_not_empty on customer_id: value "),
        ([feature_row("bad", " ")], "key_is_not_empty on product_id: value  "),
        (
            [feature_row("bad"), feature_row("bad", kind="b")],
            "subject_is_there_once on customer_id, product_id: rows 2",
        ),
    ],
)
def test_what_no_model_may_see_is_quarantined_without_a_suite(
    our_settings: Settings, plan: Plan, bad: list[dict[str, object]], reason: str
) -> None:
    answer, rows = validated(our_settings, plan, [GOOD, bad])
    assert answer.quarantined == 1
    assert [row["reasons"] for row in rows] == [[reason]] * len(bad)
    assert [(row["shard"], row["row"]) for row in rows] == [(1, at) for at in range(len(bad))]


def test_a_subject_is_kept_out_whole_when_one_of_its_rows_is_bad(our_settings: Settings, plan: Plan) -> None:
    shard = [*[feature_row("bad", amount=-1)] * 2, *GOOD, feature_row("bad", amount=50), feature_row("bad", "other")]
    answer, rows = validated(our_settings, plan, [shard], BETWEEN)
    assert answer.quarantined == 1
    assert [row["row"] for row in rows] == [0, 1, 12]
    assert rows[0]["reasons"] == rows[1]["reasons"] == rows[2]["reasons"]
    assert len(rows[0]["reasons"]) == 2, "each is given once"


def test_what_is_repeated_across_shards_is_found(our_settings: Settings, plan: Plan) -> None:
    unique = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "customer_id"}, "severity": "critical"}
    shards = [[*GOOD, feature_row("twice", "p1")], [feature_row("twice", "p2")]]
    answer, rows = validated(our_settings, plan, shards, unique)
    assert answer.quarantined == 2
    assert [(row["shard"], row["product_id"]) for row in rows] == [(0, "p1"), (1, "p2")]


def test_every_reason_is_kept_and_a_missing_value_is_said_so(our_settings: Settings, plan: Plan) -> None:
    has_kind = {**HAS_KIND, "severity": "critical"}
    pair = {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "kwargs": {"column_A": "row", "column_B": "amount", "or_equal": True},
        "severity": "critical",
    }
    bad = feature_row("bad", amount=200, kind=None)
    _, rows = validated(our_settings, plan, [[*GOOD[:3], bad]], BETWEEN, has_kind, pair)
    assert rows[0]["reasons"] == [
        "expect_column_values_to_be_between on amount: value 200.0",
        "expect_column_values_to_not_be_null on kind: value missing",
        "expect_column_pair_values_a_to_be_greater_than_b on row, amount: row 1.0, amount 200.0",
    ]


def test_the_budget_stops_the_run_after_the_evidence_was_committed(our_settings: Settings, plan: Plan) -> None:
    bad = [feature_row(f"bad{number}", amount=-1) for number in range(3)]  # the budget is 2 rows, or 1 %
    with pytest.raises(BudgetError) as caught:
        validated(our_settings, plan, [[*GOOD, *bad]], BETWEEN)
    assert "3 of the 13 subjects" in caught.value.found
    assert "at most 2" in caught.value.expected
    with transaction(our_settings) as connection:
        assert connection.execute(text("SELECT count(*) FROM quarantine")).scalar_one() == 3
    failed = [row for row in run(our_settings, plan.run_id).validation if row["status"] == "failed"]
    assert [(row["type"], row["unexpected_rows"]) for row in failed] == [(BETWEEN["type"], 3)]


def test_a_fraction_of_the_subjects_counts_when_it_is_more(our_settings: Settings, plan: Plan) -> None:
    bad = [feature_row(f"bad{number}", amount=-1) for number in range(3)]
    many = [feature_row(f"good{number}") for number in range(297)]
    answer, _ = validated(our_settings, plan, [[*many, *bad]], BETWEEN)
    assert answer.quarantined == 3
    with pytest.raises(BudgetError):
        validated(our_settings, plan, [[*many[1:], *bad]], BETWEEN)


def test_a_critical_expectation_on_the_table_stops_the_run_after_the_evidence(
    our_settings: Settings, plan: Plan
) -> None:
    count = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 50}, "severity": "critical"}
    with pytest.raises(ExpectationError) as caught:
        validated(our_settings, plan, [GOOD], BETWEEN, count)
    assert "features: expect_table_row_count_to_be_between found 10" in caught.value.found
    assert "min_value=50" in caught.value.expected
    page = our_settings.site / run_page(plan.run_id)
    assert str(page) in caught.value.do
    assert "expect_table_row_count_to_be_between" in page.read_text()
    assert any(row["status"] == "failed" for row in run(our_settings, plan.run_id).validation)
    assert json.loads((plan.folder / "validation/validate_features.json").read_text())


def test_a_retry_leaves_the_same(our_settings: Settings, plan: Plan) -> None:
    shards = [[*GOOD, feature_row("bad", amount=-5)]]
    first = validated(our_settings, plan, shards, BETWEEN)
    recorded = verdicts_so_far(plan.folder)
    assert validated(our_settings, plan, shards, BETWEEN) == first
    assert verdicts_so_far(plan.folder) == recorded
    with transaction(our_settings) as connection:
        assert connection.execute(text("SELECT count(*) FROM quarantine")).scalar_one() == 1


def test_the_suite_is_required(our_settings: Settings, plan: Plan) -> None:
    (our_settings.expectations / "features.json").unlink()
    snapshot = make_snapshot(our_settings.home / "snapshot", [GOOD])
    with pytest.raises(ConfigError, match="no suite"):
        validate_features(our_settings, plan, snapshot)


def test_a_shard_that_is_not_as_it_was_written_is_refused(our_settings: Settings, plan: Plan) -> None:
    snapshot = make_snapshot(our_settings.home / "snapshot", [GOOD, GOOD])
    file = snapshot.manifest.parent / "shard-0001.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(ConservationError, match=r"shard-0001\.parquet"):
        validate_features(our_settings, plan, snapshot)


def test_all_of_many_rows_may_fail(our_settings: Settings, plan: Plan) -> None:
    rows = 100_000
    table = pa.table(
        {
            "customer_id": pa.array([f"c{number}" for number in range(rows)]),
            "product_id": pa.repeat("p", rows),
            "amount": pa.repeat(pa.scalar(-1.0, pa.float32()), rows),
            "row": pa.repeat(pa.scalar(INFINITY, pa.float32()), rows),
            "kind": pa.repeat("a", rows),
            "info_name": pa.nulls(rows, pa.string()),
        }
    )
    with pytest.raises(BudgetError, match="100000 of the 100000"):
        validated(our_settings, plan, [table.slice(0, 60_000), table.slice(60_000)], BETWEEN)
    quarantine = pq.read_table(plan.folder / "quarantine.parquet")
    assert quarantine.num_rows == rows
    assert {len(reasons) for reasons in quarantine.column("reasons").to_pylist()} == {2}


def test_the_number_of_subjects_is_compared_with_the_weeks_before(our_settings: Settings, plan: Plan) -> None:
    half = {"min_value": {"$PARAMETER": "recent_subjects * 0.5"}}
    usual = {"type": "expect_table_row_count_to_be_between", "kwargs": half, "severity": "critical"}
    validated(our_settings, plan, [GOOD], usual)
    week = Week.parse(plan.week)
    for weeks, subjects, state in ((-9, 1, "published"), (-2, 30, "published"), (-1, 1, "failed"), (1, 1, "published")):
        before = open_run(our_settings, week=week.plus(weeks), airflow_run_id=str(weeks))
        update_run(our_settings, before, subjects=subjects, state=state)
    with pytest.raises(ExpectationError, match="expect_table_row_count_to_be_between found 10"):
        validated(our_settings, plan, [GOOD], usual)
