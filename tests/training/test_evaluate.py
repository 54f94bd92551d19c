"""The metrics, against values worked out by hand, and those of the test company's model."""

import numpy as np
import pytest

from pipeline.training.evaluate import calibration_error, metrics
from tests.training.conftest import Training


def test_metrics_of_known_numbers() -> None:
    measured = metrics(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    assert measured["roc_auc"] == 0.75
    assert measured["pr_auc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert measured["brier"] == pytest.approx((0.01 + 0.16 + 0.65**2 + 0.04) / 4)
    assert measured["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert (measured["base_rate"], measured["rows"]) == (0.5, 4)
    assert measured["base_rate_brier"] == 0.25
    assert measured["base_rate_log_loss"] == pytest.approx(np.log(2))
    assert all(type(value) is float for value in measured.values())


def test_calibration_error_is_the_mean_gap_over_bins_of_equal_mass() -> None:
    random = np.random.default_rng(1)
    satisfaction = random.random(60_000)
    labels = (random.random(60_000) < satisfaction).astype(int)
    assert calibration_error(labels, satisfaction) < 0.01
    assert calibration_error(labels, np.clip(satisfaction + 0.2, 0, 1)) == pytest.approx(0.18, abs=0.02)
    assert calibration_error(np.array([0, 1, 0, 1]), np.full(4, 0.5)) == 0.5


def test_the_test_companys_model_learns_something(training: Training) -> None:
    measured = training.evaluated.metrics
    assert training.evaluated.test_rows == measured["rows"] == 100
    assert measured["roc_auc"] > 0.65
    assert measured["log_loss"] < measured["base_rate_log_loss"]


def test_it_becomes_the_first_champion(training: Training) -> None:
    registered = training.registered
    assert (registered.version, registered.is_champion, registered.from_week) == ("1", True, training.plan.as_of)
    assert registered.metrics == training.evaluated.metrics
