"""How well satisfaction foretold the labels, and how sure that is: bootstrap intervals over subjects.

Training's evaluation, the gate, the comparison of champion and challenger and the benchmarks all measure with this
module. A subject's rows of several weeks are alike, so the bootstrap draws subjects, never rows. Rows are ranked once;
each replicate is only another weight for each of them. Entry points: `metrics`, `estimates`, `differences`,
`unpaired_differences` and `calibration_curve`.
"""

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

REPLICATES = 300
COVERED = (0.025, 0.975)
"""The interval's ends as quantiles of the replicates: 95 %."""
CALIBRATION_BINS = 15
GROUPS = 10_000
"""Replicates of more predictions rank them in so many groups; what that shifts is far below an interval's width."""

Floats = NDArray[np.float64]
Rows = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Labels, satisfaction and subjects of the same rows."""


class Estimate(BaseModel):
    """A figure with its 95 % interval (percentile bootstrap).

    A calibration error is never negative, so chance alone raises it, in a replicate once more: its interval lies high.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class CurvePoint(BaseModel):
    """One bin of the calibration curve."""

    model_config = ConfigDict(frozen=True)

    satisfaction: float
    """Mean prediction."""
    satisfied: Estimate
    """Share that turned out satisfied."""
    rows: int


def metrics(labels: NDArray[Any], satisfaction: NDArray[Any], weights: NDArray[Any] | None = None) -> dict[str, float]:
    """Return how well `satisfaction` foretold `labels`.

    Parameters
    ----------
    labels
        0 and 1, both present; shape (rows,).
    satisfaction
        Predicted probabilities of 1; shape (rows,).
    weights
        Of the rows; 1 each when not given.

    Returns
    -------
    `roc_auc`, `pr_auc` (average precision), `log_loss`, `brier`, `calibration_error` (expected, over 15 bins of equal
    mass); `base_rate`, and what answering everybody with it would give: `base_rate_log_loss` and `base_rate_brier`;
    `rows`.

    Examples
    --------
    >>> metrics(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4]))["roc_auc"]
    0.75
    """
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    rate = float(np.average(labels, weights=weights))
    base = _Ranked(labels, np.full(len(labels), rate)).measure(weights)
    return {
        **_Ranked(labels, satisfaction).measure(weights),
        "base_rate": rate,
        "base_rate_log_loss": base["log_loss"],
        "base_rate_brier": base["brier"],
        "rows": float(len(labels)),
    }


def roc_auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Return the ROC AUC alone, of any numbers that rank the rows."""
    return _Ranked(labels, scores).measure(np.ones(len(labels)))["roc_auc"]


def estimates(
    labels: NDArray[Any], satisfaction: NDArray[Any], subjects: NDArray[Any], *, seed: int
) -> dict[str, Estimate]:
    """Return the first five of `metrics` with their intervals.

    Parameters
    ----------
    labels, satisfaction
        As for `metrics`.
    subjects
        A code for each row; rows of one code are drawn together.
    seed
        Makes the intervals repeatable.
    """
    ranked = _Ranked(labels, satisfaction)
    grouped = ranked.grouped()
    replicates = [grouped.measure(weights) for weights in _resampled(subjects, seed)]
    return _with_intervals(ranked.measure(np.ones(len(labels))), replicates)


def differences(
    labels: NDArray[Any], first: NDArray[Any], second: NDArray[Any], subjects: NDArray[Any], *, seed: int
) -> dict[str, Estimate]:
    """Return the metrics of `second` minus those of `first`, both predictions for the same rows."""
    one, other = _Ranked(labels, first), _Ranked(labels, second)
    everyone = np.ones(len(labels))
    value = _minus(other.measure(everyone), one.measure(everyone))
    one, other = one.grouped(), other.grouped()
    replicates = [_minus(other.measure(weights), one.measure(weights)) for weights in _resampled(subjects, seed)]
    return _with_intervals(value, replicates)


def unpaired_differences(first: Rows, second: Rows, *, seed: int) -> dict[str, Estimate]:
    """Return the metrics on the rows of `second` minus those on the rows of `first`, which are others."""
    one, other = _Ranked(*first[:2]), _Ranked(*second[:2])
    value = _minus(other.measure(np.ones(len(second[0]))), one.measure(np.ones(len(first[0]))))
    one, other = one.grouped(), other.grouped()
    draws = zip(_resampled(first[2], seed), _resampled(second[2], seed + 1), strict=True)
    replicates = [_minus(other.measure(to_other), one.measure(to_one)) for to_one, to_other in draws]
    return _with_intervals(value, replicates)


def calibration_curve(
    labels: NDArray[Any], satisfaction: NDArray[Any], subjects: NDArray[Any], *, seed: int
) -> list[CurvePoint]:
    """Return the curve whose mean distance from the diagonal is the calibration error, lowest predictions first."""
    labels, satisfaction = (np.asarray(values, dtype=np.float64) for values in (labels, satisfaction))
    bins = np.unique(_Ranked(labels, satisfaction).bins(), return_inverse=True)[
        1
    ]  # with equal predictions a bin may be empty
    rows = np.bincount(bins)
    with np.errstate(invalid="ignore"):  # a replicate may have drawn nobody of a bin
        replicates = [np.bincount(bins, w * labels) / np.bincount(bins, w) for w in _resampled(subjects, seed)]
    low, high = np.nanquantile(replicates, COVERED, axis=0)
    foretold, happened = (np.bincount(bins, values) / rows for values in (satisfaction, labels))
    return [
        CurvePoint(
            satisfaction=foretold[n], satisfied=Estimate(value=happened[n], low=low[n], high=high[n]), rows=rows[n]
        )
        for n in range(len(rows))
    ]


def chance_calibration_error(satisfaction: NDArray[Any], *, seed: int) -> float:
    """Return the calibration error that chance alone gives a perfectly calibrated model on these rows, at most.

    So many rows, each satisfied exactly as often as foretold, stay below it in 99 of 100 draws.
    """
    satisfaction = np.asarray(satisfaction, dtype=np.float64)
    bins = _Ranked(np.zeros(len(satisfaction)), satisfaction).bins()
    random = np.random.default_rng(seed)
    draws = (random.random(len(satisfaction)) < satisfaction for _ in range(REPLICATES))
    errors = [np.abs(np.bincount(bins, satisfaction - drawn)).sum() / len(satisfaction) for drawn in draws]
    return float(np.quantile(errors, 0.99))


class _Ranked:
    """Rows in the order of their predictions; equal predictions form one group, so that no order among them counts."""

    def __init__(self, labels: NDArray[Any], satisfaction: NDArray[Any]) -> None:
        self.order = np.argsort(satisfaction, kind="stable")
        ranked = np.asarray(satisfaction, dtype=np.float64)[self.order]
        self._labels = np.asarray(labels, dtype=np.float64)[self.order]
        self.regroup(ranked, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]))
        bounded = np.clip(ranked, np.finfo("f8").eps, 1 - np.finfo("f8").eps)
        self._log_losses = -np.log(np.where(self._labels > 0, bounded, 1 - bounded))
        self._squares = (ranked - self._labels) ** 2

    def regroup(self, ranked: Floats, starts: NDArray[np.intp]) -> None:
        """Let a group begin at each of these places."""
        self._starts = starts
        self._sizes = np.diff(np.r_[starts, len(ranked)])
        self._satisfaction = np.add.reduceat(ranked, starts) / self._sizes

    def grouped(self) -> "_Ranked":
        """Return the same rows with neighbours in the order merged into at most `GROUPS` groups."""
        apart = -(-len(self._starts) // GROUPS)
        merged = copy(self)
        merged.regroup(np.repeat(self._satisfaction, self._sizes), self._starts[::apart])
        return merged

    def measure(self, weights: Floats) -> dict[str, float]:
        weights = weights[self.order]
        mass = np.add.reduceat(weights, self._starts)
        satisfied = np.add.reduceat(weights * self._labels, self._starts)
        total = mass.sum()
        return {
            "roc_auc": _roc_auc(satisfied, mass - satisfied),
            "pr_auc": _pr_auc(satisfied[::-1], mass[::-1]),
            "log_loss": float(weights @ self._log_losses / total),
            "brier": float(weights @ self._squares / total),
            "calibration_error": self._calibration_error(satisfied, mass),
        }

    def bins(self) -> NDArray[np.intp]:
        """Return the calibration bin of each row, in the rows' own order."""
        bins = np.empty(len(self.order), dtype=np.intp)
        bins[self.order] = np.repeat(_bins(self._sizes.astype(np.float64)), self._sizes)
        return bins

    def _calibration_error(self, satisfied: Floats, mass: Floats) -> float:
        gaps = np.bincount(_bins(mass), mass * self._satisfaction - satisfied)
        return float(np.abs(gaps).sum() / mass.sum())


def _bins(mass: Floats) -> NDArray[np.intp]:
    """Return each group's bin, by where its middle lies in the mass."""
    middles = np.cumsum(mass) - mass / 2
    bins: NDArray[np.intp] = np.minimum(middles * CALIBRATION_BINS / mass.sum(), CALIBRATION_BINS - 1).astype(np.intp)
    return bins


def _roc_auc(satisfied: Floats, unsatisfied: Floats) -> float:
    """Return the chance that a satisfied row ranks above an unsatisfied one; an equal rank counts half."""
    below = np.cumsum(unsatisfied) - unsatisfied / 2
    pairs = satisfied.sum() * unsatisfied.sum()
    return float(satisfied @ below / pairs) if pairs else float("nan")


def _pr_auc(satisfied: Floats, mass: Floats) -> float:
    """Return the average precision; groups come best first."""
    drawn = np.cumsum(mass)
    precision = np.divide(np.cumsum(satisfied), drawn, out=np.zeros(len(drawn)), where=drawn > 0)
    return float(satisfied @ precision / satisfied.sum()) if satisfied.any() else float("nan")


def _resampled(subjects: NDArray[Any], seed: int) -> Iterator[Floats]:
    """Yield each replicate's weights of the rows: how often their subject was drawn."""
    names, codes = np.unique(subjects, return_inverse=True)
    random = np.random.default_rng(seed)
    for _ in range(REPLICATES):
        drawn = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        yield drawn.astype(np.float64)[codes]


def _minus(second: dict[str, float], first: dict[str, float]) -> dict[str, float]:
    return {name: value - first[name] for name, value in second.items()}


def _with_intervals(values: dict[str, float], replicates: list[dict[str, float]]) -> dict[str, Estimate]:
    """Join values and intervals; a replicate of few rows may lack one answer, so that it has no AUC."""
    intervals = {name: np.nanquantile([drawn[name] for drawn in replicates], COVERED) for name in values}
    return {
        name: Estimate(value=value, low=intervals[name][0], high=intervals[name][1]) for name, value in values.items()
    }
