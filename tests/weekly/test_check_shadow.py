"""The shadow's scores are whole, sensible and as handed over, or left out with a warning, or the run is stopped."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConservationError
from pipeline.files import sha256_of_file
from pipeline.models.predictions import SHADOW_SCHEMA, Scored, Shadow
from pipeline.settings import Settings
from pipeline.validation.verdicts import verdicts_so_far
from pipeline.weekly.check import check
from pipeline.weekly.handoffs import Checked, FeaturesValidated, Plan, Snapshot
from tests.handmade import feature_row, make_predictions, make_quarantine, make_run, make_snapshot, prediction_row
from tests.routed import CHALLENGER, with_challenger

KEYS = [["a", "b", "kept out"], ["c", "d"]]


class Run:
    """A run scored twice, whose shadow a test may spoil."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.plan: Plan = with_challenger(make_run(settings), "shadow")
        self.snapshot: Snapshot = make_snapshot(settings.home / "snapshot", [[*map(feature_row, s)] for s in KEYS])
        quarantine = self.plan.folder / "quarantine.parquet"
        self.validated: FeaturesValidated = make_quarantine(quarantine, [(0, 2, "kept out", "p0")])
        kept = [[prediction_row(key) for key in shard if key != "kept out"] for shard in KEYS]
        self.scored: list[Scored] = make_predictions(self.plan.folder / "predictions", kept)
        for shard, rows in enumerate(kept):
            self.shade(shard, *(row["customer_id"] for row in rows))

    def shade(self, shard: int, *customers: object, **values: object) -> None:
        """Have the challenger score these customers of the shard."""
        rows = [prediction_row(str(customer), model_version=CHALLENGER, **values) for customer in customers]
        file = self.plan.folder / f"shadow-{shard}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SHADOW_SCHEMA), file)
        self.hand_over(shard, Shadow(file=file, digest=sha256_of_file(file)))

    def hand_over(self, shard: int, shadow: Shadow | None, failure: str | None = None) -> None:
        handed = self.scored[shard].model_copy(update={"shadow": shadow, "shadow_failure": failure})
        self.scored[shard] = handed

    def check(self) -> Checked:
        return check(self.settings, self.plan, self.snapshot, self.validated, self.scored)

    def result(self) -> dict:
        """What is on record of the shadow."""
        (found,) = [row for row in verdicts_so_far(self.plan.folder) if row["suite"] == "shadow"]
        return found


@pytest.fixture
def shadowed(warehouse_settings: Settings) -> Run:
    return Run(warehouse_settings)


def test_a_whole_shadow_goes_on_to_be_published(shadowed: Run) -> None:
    checked = shadowed.check()
    assert [file.name for file in checked.shadow_files] == ["shadow-0.parquet", "shadow-1.parquet"]
    assert (checked.predicted, checked.warnings) == (4, 0)
    assert shadowed.result()["status"] == "passed"


def test_one_shard_that_could_not_be_scored_leaves_the_whole_shadow_out_with_a_warning(shadowed: Run) -> None:
    shadowed.hand_over(1, None, "The model's file is gone.")
    checked = shadowed.check()
    assert checked.shadow_files == []
    assert (checked.predicted, checked.warnings) == (4, 1)
    assert shadowed.result()["severity"] == "warning"
    assert shadowed.result()["observed"] == "in shard 1: The model's file is gone."


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, None])
def test_a_shadow_that_is_no_probability_is_left_out_with_a_warning(shadowed: Run, value: float | None) -> None:
    shadowed.shade(0, "a", "b", satisfaction=value)
    checked = shadowed.check()
    assert (checked.shadow_files, checked.warnings) == ([], 1)
    assert shadowed.result()["observed"] == "2 rows have no satisfaction between 0 and 1"


@pytest.mark.parametrize(
    ("customers", "words"),
    [
        (["a"], "neither predicted nor quarantined"),
        (["a", "b", "b"], "predicted more than once"),
        (["a", "b", "kept out"], "predicted and quarantined"),
        (["a", "b", "c"], "not in this shard"),
    ],
)
def test_the_shadow_obeys_the_law_of_conservation(shadowed: Run, customers: list[str], words: str) -> None:
    shadowed.shade(0, *customers)
    with pytest.raises(ConservationError, match=words):
        shadowed.check()


def test_a_shadow_of_another_run_or_week_is_refused(shadowed: Run) -> None:
    shadowed.shade(0, "a", "b", run_id="2026-03-02.9")
    with pytest.raises(ConservationError, match="shadow_predictions are not of the run"):
        shadowed.check()


def test_a_shadow_file_that_is_not_the_one_handed_over_is_refused(shadowed: Run, tmp_path: Path) -> None:
    shadow = shadowed.scored[0].shadow
    assert shadow is not None
    shadowed.shade(0, "a", "b", satisfaction=0.25)
    shadowed.hand_over(0, shadow)
    with pytest.raises(ConservationError, match="predictions of shard 0"):
        shadowed.check()


def test_a_row_served_by_the_challenger_in_the_shadow_is_refused(shadowed: Run) -> None:
    rows = [prediction_row("a"), prediction_row("b", role="challenger", model_version=CHALLENGER)]
    (served,) = make_predictions(shadowed.plan.folder / "again", [rows])
    shadowed.scored[0] = served.model_copy(update={"shadow": shadowed.scored[0].shadow})
    with pytest.raises(ConservationError, match=r"by the wrong model, .* by the challenger"):
        shadowed.check()
