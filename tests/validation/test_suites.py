"""Suites: read whole, checked before anything runs, every mistake named with its file and expectation."""

import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.validation.suites import ExpectationSpec, Suite, concerns_rows_of, load_suite

COLUMNS = ["customer_id", "amount"]
PARAMETERS = {"recent_rows": 200.0, "cutoff": "2026-03-09T00:00:00+01:00", "unheard_of_rows": None}
ROW_COUNT = "expect_table_row_count_to_be_between"


def load(folder: Path, *expectations: object, name: str = "features") -> Suite:
    file = folder / "features.json"
    file.write_text(json.dumps({"name": name, "expectations": expectations}))
    return load_suite("features", file, COLUMNS, PARAMETERS)


def row_count(minimum: object) -> dict[str, object]:
    return {"type": ROW_COUNT, "kwargs": {"min_value": minimum}, "severity": "critical"}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("recent_rows", 200.0),
        ("recent_rows * 0.5", 100.0),
        ("round(recent_rows / 3)", 67),
        ("cutoff - timedelta(days=1)", "2026-03-08T00:00:00+01:00"),
    ],
)
def test_parameters_get_their_values(tmp_path: Path, expression: str, value: object) -> None:
    suite = load(tmp_path, row_count({"$PARAMETER": expression}))
    assert suite.expectations[0].kwargs["min_value"] == value


def test_an_expectation_whose_parameter_has_no_value_yet_is_skipped(tmp_path: Path) -> None:
    suite = load(tmp_path, row_count({"$PARAMETER": "unheard_of_rows * 2"}), row_count(1))
    assert list(suite.skipped) == [0]
    assert list(suite.expectations) == [1]


@pytest.mark.parametrize(
    ("expectation", "words"),
    [
        (row_count({"$PARAMETER": "nonsense * 2"}), ["'nonsense * 2'", "recent_rows", "cutoff"]),
        (row_count({"$PARAMETER": "recent_rows *"}), ["'recent_rows *'"]),
        ({"type": ROW_COUNT, "kwargs": {}, "severity": "fatal"}, ["severity", "'critical' or 'warning'"]),
        ({"type": ROW_COUNT, "kwargs": {}}, ["severity", "required"]),
        ({"type": ROW_COUNT, "severity": "critical", "kwarg": {}}, ["kwarg", "not permitted"]),
        (
            {"type": "expect_column_max_to_be_between", "kwargs": {"column": "amuont"}, "severity": "critical"},
            ["amuont", "customer_id, amount"],
        ),
        (
            {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["a"]}, "severity": "critical"},
            ["no column a "],
        ),
    ],
)
def test_a_mistake_is_named_with_file_and_expectation(tmp_path: Path, expectation: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, row_count(1), expectation)
    assert str(tmp_path / "features.json") in caught.value.found
    assert "xpectation 2" in caught.value.found
    for word in words:
        assert word in caught.value.found


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff\xfe", b'{"name": "x"}', b""])
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_suite("features", tmp_path / "broken.json", COLUMNS, {})


def test_a_suite_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no suite"):
        load_suite("features", tmp_path / "features.json", COLUMNS, {})


def test_a_column_may_be_expected_to_exist(tmp_path: Path) -> None:
    suite = load(tmp_path, {"type": "expect_column_to_exist", "kwargs": {"column": "new"}, "severity": "warning"})
    assert list(suite.expectations) == [0]


def test_an_unknown_expectation_is_kept_for_the_validation_to_refuse() -> None:
    applies = concerns_rows_of(["amount"])
    unknown = ExpectationSpec(type="expect_nonsense", kwargs={"column": "amount"}, severity="critical")
    assert applies(unknown)
    assert not applies(unknown.model_copy(update={"type": "expect_column_max_to_be_between"}))
