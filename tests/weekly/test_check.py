"""Check: nothing is published unless every subject is there exactly once and every file is the one handed over."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ConservationError, ExpectationError
from pipeline.models.predictions import Scored
from pipeline.settings import Settings
from pipeline.validation.conservation import check_conserved
from pipeline.validation.verdicts import verdicts_so_far
from pipeline.warehouse.runs import run
from pipeline.weekly.check import check
from pipeline.weekly.handoffs import Checked, FeaturesValidated, Plan, Snapshot
from tests.company import company_settings
from tests.handmade import (
    QUARANTINE_SCHEMA,
    feature_row,
    make_plan,
    make_predictions,
    make_quarantine,
    make_run,
    make_snapshot,
    prediction_row,
)

KEYS = [["a", "b", "kept out"], ["c", "d"]]
QUARANTINED = [(0, 2, "kept out", "p0")]


class Run:
    """A scored run whose parts a test may spoil."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.settings = settings
        self.plan = plan
        shards = [[feature_row(key) for key in shard] for shard in KEYS]
        self.snapshot: Snapshot = make_snapshot(settings.home / "snapshot", shards)
        self.validated: FeaturesValidated = make_quarantine(self.plan.folder / "quarantine.parquet", QUARANTINED)
        kept = [[prediction_row(key) for key in shard if key != "kept out"] for shard in KEYS]
        self.scored: list[Scored] = make_predictions(self.plan.folder / "predictions", kept)

    def rescore(self, shard: int, *rows: dict[str, object]) -> None:
        folder = self.plan.folder / "again"
        self.scored[shard] = make_predictions(folder, [list(rows)] * (shard + 1))[shard]

    def check(self) -> Checked:
        return check(self.settings, self.plan, self.snapshot, self.validated, self.scored)


@pytest.fixture
def scored_run(company: Path, tmp_path: Path) -> Run:
    """A run that is on no record, of a company whose suites may be changed."""
    shutil.copytree(company, tmp_path / "company")
    settings = company_settings(tmp_path / "company", tmp_path / "home")
    return Run(settings, make_plan(settings))


@pytest.fixture
def recorded_run(company: Path, tmp_path: Path, warehouse_settings: Settings) -> Run:
    """A run on record, of a company whose suites may be changed."""
    shutil.copytree(company, tmp_path / "company")
    database = warehouse_settings.database
    settings = company_settings(
        tmp_path / "company", tmp_path / "home", DATABASE__URL=str(database.url), DATABASE__PREFIX=database.prefix
    )
    return Run(settings, make_run(settings))


def test_a_good_run_passes(recorded_run: Run) -> None:
    recorded_run.scored.reverse()
    checked = recorded_run.check()
    assert (checked.predicted, checked.quarantined, checked.warnings) == (4, 1, 0)
    assert [file.name for file in checked.files] == ["shard-0000.parquet", "shard-0001.parquet"]
    recorded = verdicts_so_far(recorded_run.plan.folder)
    assert [(row["suite"], row["status"]) for row in recorded] == [("predictions", "passed")]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([prediction_row("a")], "1 subjects are neither predicted nor quarantined, for example (b, p0)"),
        ([prediction_row(key) for key in "abb"], "1 subjects are predicted more than once, for example (b, p0)"),
        (
            [*map(prediction_row, "ab"), prediction_row("kept out")],
            "1 subjects are predicted and quarantined, for example (kept out, p0)",
        ),
        ([*map(prediction_row, "abx")], "not in this shard of the snapshot, for example (x, p0)"),
        ([*map(prediction_row, "abc")], "not in this shard of the snapshot, for example (c, p0)"),
        ([prediction_row("a"), prediction_row("b", "p1")], "(b, p0)"),
        ([], "2 subjects are neither"),
    ],
)
def test_a_subject_that_is_not_there_exactly_once_is_refused(
    scored_run: Run, rows: list[dict[str, object]], words: str
) -> None:
    scored_run.rescore(0, *rows)
    with pytest.raises(ConservationError) as caught:
        scored_run.check()
    assert words in caught.value.found
    assert "In shard 0" in caught.value.found


@pytest.mark.parametrize("kept_out", [[], [*QUARANTINED, (1, 0, "c", "p0")], [*QUARANTINED, (0, 9, "x", "p0")]])
def test_a_quarantine_that_does_not_fit_is_refused(scored_run: Run, kept_out: list[Any]) -> None:
    scored_run.validated = make_quarantine(scored_run.plan.folder / "other.parquet", kept_out)
    with pytest.raises(ConservationError):
        scored_run.check()


def test_numbers_that_are_not_those_of_the_files_are_refused(scored_run: Run) -> None:
    scored_run.validated = scored_run.validated.model_copy(update={"quarantined": 0})
    with pytest.raises(ConservationError, match="5 subjects, 4 predicted, 1 quarantined"):
        scored_run.check()


def test_a_quarantine_that_is_gone_is_refused(scored_run: Run) -> None:
    scored_run.validated.quarantine.unlink()
    with pytest.raises(ConservationError, match="cannot be read"):
        scored_run.check()


@pytest.mark.parametrize("shards", [[0], [1], [0, 0], [0, 1, 1], []])
def test_every_shard_must_be_scored_exactly_once(scored_run: Run, shards: list[int]) -> None:
    scored_run.scored = [scored_run.scored[shard] for shard in shards]
    with pytest.raises(ConservationError, match="scored shards are"):
        scored_run.check()


@pytest.mark.parametrize("change", ["bytes", "absent"])
def test_a_file_that_is_not_the_one_handed_over_is_refused(scored_run: Run, change: str) -> None:
    file = scored_run.scored[1].file
    if change == "absent":
        file.unlink()
    else:
        table = pq.read_table(file)
        satisfaction = pa.array([0.4] * table.num_rows)
        pq.write_table(table.set_column(3, "satisfaction", satisfaction), file)
    with pytest.raises(ConservationError, match=r"predictions of shard 1"):
        scored_run.check()


@pytest.mark.parametrize("value", [-0.001, 1.001, None, math.nan, math.inf])
def test_a_satisfaction_that_is_no_probability_is_refused_whatever_the_suite(
    scored_run: Run, value: float | None
) -> None:
    (scored_run.settings.expectations / "predictions.json").write_text('{"name": "predictions", "expectations": []}')
    scored_run.rescore(0, prediction_row("a"), prediction_row("b", satisfaction=value))
    with pytest.raises(ExpectationError, match=r"1 predictions .* no satisfaction between 0 and 1"):
        scored_run.check()


@pytest.mark.parametrize("stray", [{"run_id": "2026-03-02.9"}, {"week": None}])
def test_a_prediction_of_another_run_is_refused(scored_run: Run, stray: dict[str, object]) -> None:
    scored_run.rescore(0, prediction_row("a"), prediction_row("b", **stray))
    with pytest.raises(ConservationError, match="not of the run"):
        scored_run.check()


def test_the_suite_is_required(scored_run: Run) -> None:
    (scored_run.settings.expectations / "predictions.json").unlink()
    with pytest.raises(ConfigError, match="no suite"):
        scored_run.check()


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_a_critical_expectation_stops_after_the_evidence_and_a_warning_does_not(
    recorded_run: Run, severity: str
) -> None:
    kwargs = {"column": "satisfaction", "min_value": 0.9}
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": kwargs, "severity": severity}
    suite = json.dumps({"name": "predictions", "expectations": [mean]})
    (recorded_run.settings.expectations / "predictions.json").write_text(suite)
    if severity == "warning":
        assert recorded_run.check().warnings == 1
    else:
        with pytest.raises(ExpectationError, match=r"expect_column_mean_to_be_between on satisfaction found 0\.5"):
            recorded_run.check()
        assert run(recorded_run.settings, recorded_run.plan.run_id).validation, "on record before the run was stopped"
    assert [row["status"] for row in verdicts_so_far(recorded_run.plan.folder)] == ["failed"]


CASES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "", None]),  # the customer, who has one product
        st.integers(0, 2),  # rows in the snapshot
        st.integers(0, 2),  # rows in the predictions
        st.integers(0, 2),  # rows in the quarantine
    ),
    unique_by=lambda case: case[0],
)


@hypothesis_settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(cases=CASES)
def test_the_law_is_kept_exactly_when_nothing_is_raised(tmp_path: Path, cases: list[tuple[Any, ...]]) -> None:
    keys = pa.schema([("customer_id", pa.string()), ("product_id", pa.string())])
    files = []
    for place, name in enumerate(["snapshot", "predictions", "quarantine"], 1):
        rows = [{"customer_id": case[0], "product_id": "p", "shard": 0} for case in cases for _ in range(case[place])]
        files.append(tmp_path / f"{name}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA if place == 3 else keys), files[-1])
    subjects = sum(case[1] > 0 for case in cases)
    quarantined = sum(case[3] > 0 for case in cases)
    lawful = all(
        (predicted, kept > 0) in {(1, False), (0, True)} if made else predicted == kept == 0
        for _, made, predicted, kept in cases
    )
    with duckdb.connect() as con:
        try:
            predicted = check_conserved(
                con, shards=files[:1], parts=files[1:2], quarantine=files[2], subjects=subjects, quarantined=quarantined
            )
        except ConservationError:
            assert not lawful
        else:
            assert lawful
            assert predicted == subjects - quarantined
