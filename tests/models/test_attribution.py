"""No row is published that is by another model than the plan gives its customer to."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConservationError
from pipeline.models.predictions import check_roles
from pipeline.models.routing import is_challengers
from pipeline.settings import Settings
from pipeline.weekly.handoffs import Plan
from tests.handmade import make_plan, make_predictions, prediction_row
from tests.routed import CHALLENGER, with_challenger

CUSTOMERS = [f"c{number}" for number in range(12)]
THEIRS = {"role": "challenger", "model_version": CHALLENGER, "trained_after_cutoff": True}


@pytest.fixture
def plan(settings: Settings) -> Plan:
    return make_plan(settings)


def served(folder: Path, plan: Plan, **spoilt: dict[str, object]) -> list[Path]:
    """Files of the customers' rows, each by its model but for what is spoilt."""
    drawn = is_challengers(pa.array(CUSTOMERS), plan.routing.fraction, plan.routing.salt)
    rows = [
        prediction_row(customer, **{**(THEIRS if is_theirs else {}), **spoilt.get(customer, {})})
        for customer, is_theirs in zip(CUSTOMERS, drawn, strict=True)
    ]
    return [part.file for part in make_predictions(folder, [rows[:5], rows[5:]])]


def test_rows_by_their_models_pass(tmp_path: Path, plan: Plan) -> None:
    check_roles(plan, plan.run_id, served(tmp_path, plan))
    split = with_challenger(plan, "ab")
    check_roles(split, split.run_id, served(tmp_path, split))


@pytest.mark.parametrize(
    "strange",
    [
        {"role": "challenger"},
        {"model_version": "4"},
        {"trained_after_cutoff": True},
        {"role": None},
        {"role": "", "model_version": CHALLENGER},
    ],
)
@pytest.mark.parametrize("mode", ["off", "ab", "shadow"])
def test_a_row_by_nobody_the_plan_knows_is_refused(tmp_path: Path, plan: Plan, mode: str, strange: dict) -> None:
    routed = with_challenger(plan, mode) if mode != "off" else plan
    with pytest.raises(ConservationError, match="by the wrong model"):
        check_roles(routed, routed.run_id, served(tmp_path, routed, c1=strange))


def test_in_the_shadow_nobody_is_served_by_the_challenger(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(ConservationError, match=f"by the challenger, version {CHALLENGER}, trained after the cutoff"):
        check_roles(with_challenger(plan, "shadow"), plan.run_id, served(tmp_path, plan, c7=THEIRS))


def test_a_customer_served_by_the_other_model_is_refused_and_named(tmp_path: Path, plan: Plan) -> None:
    split = with_challenger(plan, "ab")
    champions = {"role": "champion", "model_version": "3", "trained_after_cutoff": False}
    with pytest.raises(ConservationError, match=r"1 predictions .* 'c6' by the champion"):
        check_roles(split, split.run_id, served(tmp_path, split, c6=champions))
    with pytest.raises(ConservationError, match=r"'c1' by the challenger"):
        check_roles(split, split.run_id, served(tmp_path, split, c1=THEIRS))
    with pytest.raises(ConservationError, match="by the wrong model"):
        check_roles(with_challenger(plan, "ab", salt="another"), plan.run_id, served(tmp_path, split))
