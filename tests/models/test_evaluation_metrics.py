"""The metrics, against values worked out by hand and against scikit-learn's; the intervals, against known truth."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from pipeline.models.evaluation_metrics import calibration_curve, differences, estimates, metrics, unpaired_differences


def drawn(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Perfectly calibrated predictions, many of them equal."""
    random = np.random.default_rng(seed)
    satisfaction = random.random(rows).round(3)
    return (random.random(rows) < satisfaction).astype(int), satisfaction


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


@pytest.mark.parametrize("weighted", [False, True])
def test_they_are_scikit_learns_with_equal_predictions_certainties_and_weights(weighted: bool) -> None:
    labels, satisfaction = drawn(3000)
    satisfaction[:5], labels[:5] = [0, 1, 1, 0.5, 0.5], [0, 1, 0, 1, 0]
    weights = np.random.default_rng(2).integers(0, 4, 3000) if weighted else None
    measured = metrics(labels, satisfaction, weights)
    assert measured["roc_auc"] == pytest.approx(roc_auc_score(labels, satisfaction, sample_weight=weights))
    assert measured["pr_auc"] == pytest.approx(average_precision_score(labels, satisfaction, sample_weight=weights))
    assert measured["log_loss"] == pytest.approx(log_loss(labels, satisfaction, sample_weight=weights))
    assert measured["brier"] == pytest.approx(brier_score_loss(labels, satisfaction, sample_weight=weights))


def test_calibration_error_is_the_mean_gap_over_bins_of_equal_mass() -> None:
    labels, satisfaction = drawn(60_000)
    assert metrics(labels, satisfaction)["calibration_error"] < 0.01
    moved = metrics(labels, np.clip(satisfaction + 0.2, 0, 1))
    assert moved["calibration_error"] == pytest.approx(0.18, abs=0.02)


def test_equal_predictions_are_one_bin_in_whatever_order_they_come() -> None:
    constant = np.full(100, 0.25)
    for labels in (np.arange(100) < 25, np.arange(100) >= 75):
        assert metrics(labels.astype(int), constant)["calibration_error"] == pytest.approx(0)
        assert metrics(labels.astype(int), constant)["roc_auc"] == 0.5


def test_the_interval_holds_the_value_and_narrows_with_rows() -> None:
    widths = []
    for rows in (1_000, 16_000):
        labels, satisfaction = drawn(rows)
        auc = estimates(labels, satisfaction, np.arange(rows), seed=1)["roc_auc"]
        assert auc.low < auc.value < auc.high
        widths.append(auc.high - auc.low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)


def test_rows_of_one_subject_are_drawn_together() -> None:
    """Four copies of every row hold no more information than one."""
    labels, satisfaction = drawn(500)
    once = estimates(labels, satisfaction, np.arange(500), seed=1)
    four = estimates(np.tile(labels, 4), np.tile(satisfaction, 4), np.tile(np.arange(500), 4), seed=1)
    for name, estimate in once.items():
        assert four[name].model_dump() == pytest.approx(estimate.model_dump()), name


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """The Brier score of uniformly drawn predictions is 1/6."""
    covered = 0
    for seed in range(100):
        labels, satisfaction = drawn(300, seed)
        brier = estimates(labels, satisfaction, np.arange(300), seed=seed)["brier"]
        covered += brier.low <= 1 / 6 <= brier.high
    assert 88 <= covered <= 99


def test_a_difference_on_the_same_rows_is_surer_than_on_others() -> None:
    labels, satisfaction = drawn(4_000)
    subjects = np.arange(4_000)
    worse = np.clip(satisfaction + np.random.default_rng(3).normal(0, 0.1, 4_000), 0, 1)
    paired = differences(labels, satisfaction, worse, subjects, seed=1)
    assert paired["roc_auc"].value == pytest.approx(roc_auc_score(labels, worse) - roc_auc_score(labels, satisfaction))
    assert paired["roc_auc"].high < 0
    assert paired["brier"].low > 0
    unpaired = unpaired_differences((labels, satisfaction, subjects), (labels, worse, subjects), seed=1)
    assert unpaired["roc_auc"].value == paired["roc_auc"].value
    assert unpaired["roc_auc"].high - unpaired["roc_auc"].low > 2 * (paired["roc_auc"].high - paired["roc_auc"].low)


def test_the_curve_lies_on_the_diagonal_where_predictions_are_calibrated() -> None:
    labels, satisfaction = drawn(30_000)
    curve = calibration_curve(labels, satisfaction, np.arange(30_000), seed=1)
    assert len(curve) == 15
    assert sum(point.rows for point in curve) == 30_000
    assert all(1_700 < point.rows < 2_300 for point in curve)
    assert sum(point.satisfied.low <= point.satisfaction <= point.satisfied.high for point in curve) >= 12
    gaps = [abs(point.satisfied.value - point.satisfaction) * point.rows for point in curve]
    assert sum(gaps) / 30_000 == pytest.approx(metrics(labels, satisfaction)["calibration_error"])


def test_a_curve_of_one_prediction_is_one_point() -> None:
    (point,) = calibration_curve(np.array([0, 1, 1, 1]), np.full(4, 0.6), np.arange(4), seed=1)
    assert (point.rows, point.satisfied.value) == (4, 0.75)


def test_the_same_seed_gives_the_same_intervals() -> None:
    labels, satisfaction = drawn(1_000)
    first, second = (estimates(labels, satisfaction, np.arange(1_000), seed=4) for _ in range(2))
    assert first == second
    assert estimates(labels, satisfaction, np.arange(1_000), seed=5) != first


def test_two_hundred_thousand_rows_take_seconds() -> None:
    labels, satisfaction = drawn(200_000)
    satisfaction += np.random.default_rng(2).random(200_000) * 1e-4  # no two equal
    started = time.process_time()
    estimates(labels, satisfaction, np.arange(200_000) // 2, seed=1)
    assert time.process_time() - started < 15
