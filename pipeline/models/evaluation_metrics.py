"""How well satisfaction predicted the labels, with bootstrap intervals over subjects.

Training's evaluation, the gate, the comparison of champion and challenger and the benchmarks all
use these metrics. A subject's rows of several weeks are alike, so the bootstrap draws subjects, not
rows. Rows are sorted once; a replicate only changes their weights. Entry points: `metrics`,
`estimates`, `differences`, `unpaired_differences` and `calibration_curve`.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.handoff import Facts

REPLICATES = 300
COVERED = (0.025, 0.975)
"""The interval's ends as quantiles of the replicates: 95 %."""
CALIBRATION_BINS = 15
GROUPS = 10_000
"""With more distinct predictions, replicates merge neighbours into this many groups. The effect on
the metrics is far smaller than an interval's width."""

Floats = NDArray[np.float64]
Rows = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Labels, satisfaction and subjects of the same rows."""


class Estimate(Facts):
    """A metric with its 95 % interval (percentile bootstrap).

    The interval of a calibration error lies too high: the error is never negative, so chance raises
    it, and a replicate adds chance once more.
    """

    value: float
    low: float
    high: float


class CurvePoint(Facts):
    """One bin of the calibration curve."""

    satisfaction: float
    """Mean prediction."""
    satisfied: Estimate
    """Fraction of the rows that turned out satisfied."""
    rows: int


def metrics(labels: NDArray[Any], satisfaction: NDArray[Any], weights: NDArray[Any] | None = None) -> dict[str, float]:
    """Return how well `satisfaction` predicted `labels`.

    `labels` are 0 and 1, both present, and `satisfaction` the predicted probabilities of 1, both of shape (rows,). The
    rows' `weights` are 1 by default.

    Returns
    -------
    `roc_auc`, `pr_auc` (average precision), `log_loss`, `brier`, `calibration_error` (expected, over 15 bins of equal
    mass), `base_rate`, `rows`; and the log loss and Brier score of predicting the base rate for every row, as
    `base_rate_log_loss` and `base_rate_brier`.

    Examples
    --------
    >>> metrics(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4]))["roc_auc"]
    0.75
    """
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
    """Return the ROC AUC of any numbers that rank the rows."""
    return _Ranked(labels, scores).measure()["roc_auc"]


def estimates(
    labels: NDArray[Any], satisfaction: NDArray[Any], subjects: NDArray[Any], *, seed: int
) -> dict[str, Estimate]:
    """Return the first five of `metrics` with their intervals.

    Rows with the same code in `subjects` are drawn together. `seed` makes the intervals repeatable.
    """
    ranked = _Ranked(labels, satisfaction)
    grouped = ranked.grouped()
    return _with_intervals(ranked.measure(), [grouped.measure(weights) for weights in _resampled(subjects, seed)])


def differences(
    labels: NDArray[Any], first: NDArray[Any], second: NDArray[Any], subjects: NDArray[Any], *, seed: int
) -> dict[str, Estimate]:
    """Return the metrics of `second` minus those of `first`, both predictions for the same rows."""
    draws = ((weights, weights) for weights in _resampled(subjects, seed))
    return _differences(_Ranked(labels, first), _Ranked(labels, second), draws)


def unpaired_differences(first: Rows, second: Rows, *, seed: int) -> dict[str, Estimate]:
    """Return the metrics on the rows of `second` minus those on the rows of `first`, which are different rows."""
    draws = zip(_resampled(first[2], seed), _resampled(second[2], seed + 1), strict=True)
    return _differences(_Ranked(*first[:2]), _Ranked(*second[:2]), draws)


def calibration_curve(
    labels: NDArray[Any], satisfaction: NDArray[Any], subjects: NDArray[Any], *, seed: int
) -> list[CurvePoint]:
    """Return the curve whose mean distance from the diagonal is the calibration error, lowest predictions first."""
    labels, satisfaction = (np.asarray(values, dtype=np.float64) for values in (labels, satisfaction))
    _, bins = np.unique(_Ranked(labels, satisfaction).bins(), return_inverse=True)  # equal predictions leave bins empty
    rows = np.bincount(bins)
    with np.errstate(invalid="ignore"):  # a replicate may have drawn no row of a bin
        replicates = [np.bincount(bins, w * labels) / np.bincount(bins, w) for w in _resampled(subjects, seed)]
    low, high = np.nanquantile(replicates, COVERED, axis=0)
    predicted, happened = (np.bincount(bins, values) / rows for values in (satisfaction, labels))
    return [
        CurvePoint(
            satisfaction=predicted[n], satisfied=Estimate(value=happened[n], low=low[n], high=high[n]), rows=rows[n]
        )
        for n in range(len(rows))
    ]


def chance_calibration_error(satisfaction: NDArray[Any], *, seed: int) -> float:
    """Return the calibration error that a perfectly calibrated model stays below in 99 of 100 draws of the labels."""
    satisfaction = np.asarray(satisfaction, dtype=np.float64)
    bins = _Ranked(np.zeros(len(satisfaction)), satisfaction).bins()
    random = np.random.default_rng(seed)
    draws = (random.random(len(satisfaction)) < satisfaction for _ in range(REPLICATES))
    errors = [np.abs(np.bincount(bins, satisfaction - drawn)).sum() / len(satisfaction) for drawn in draws]
    return float(np.quantile(errors, 0.99))


class _Ranked:
    """Rows in the order of their predictions; rows with equal predictions form one group."""

    def __init__(self, labels: NDArray[Any], satisfaction: NDArray[Any]) -> None:
        self.order = np.argsort(satisfaction, kind="stable")
        ranked = np.asarray(satisfaction, dtype=np.float64)[self.order]
        self._labels = np.asarray(labels, dtype=np.float64)[self.order]
        self.regroup(ranked, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]))
        bounded = np.clip(ranked, np.finfo("f8").eps, 1 - np.finfo("f8").eps)
        self._log_losses = -np.log(np.where(self._labels > 0, bounded, 1 - bounded))
        self._squares = (ranked - self._labels) ** 2

    def regroup(self, ranked: Floats, starts: NDArray[np.intp]) -> None:
        """Begin a group at each of these positions."""
        self._starts = starts
        self._sizes = np.diff(np.r_[starts, len(ranked)])
        self._satisfaction = np.add.reduceat(ranked, starts) / self._sizes

    def grouped(self) -> "_Ranked":
        """Return the same rows with neighbouring groups merged into at most `GROUPS`."""
        apart = -(-len(self._starts) // GROUPS)
        merged = copy(self)
        merged.regroup(np.repeat(self._satisfaction, self._sizes), self._starts[::apart])
        return merged

    def measure(self, weights: NDArray[Any] | None = None) -> dict[str, float]:
        weights = np.ones(len(self.order)) if weights is None else np.asarray(weights, dtype=np.float64)[self.order]
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
    """Return the bin of each group, by the position of its middle in the total mass."""
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


def _differences(first: _Ranked, second: _Ranked, draws: Iterable[tuple[Floats, Floats]]) -> dict[str, Estimate]:
    """Return the metrics of `second` minus those of `first`; `draws` are the weights of both in each replicate."""
    value = _minus(second.measure(), first.measure())
    first, second = first.grouped(), second.grouped()
    return _with_intervals(value, [_minus(second.measure(other), first.measure(one)) for one, other in draws])


def _minus(second: dict[str, float], first: dict[str, float]) -> dict[str, float]:
    return {name: value - first[name] for name, value in second.items()}


def _with_intervals(values: dict[str, float], replicates: list[dict[str, float]]) -> dict[str, Estimate]:
    estimates = {}
    for name, value in values.items():
        low, high = np.nanquantile([drawn[name] for drawn in replicates], COVERED)  # NaN: an answer was not drawn
        estimates[name] = Estimate(value=value, low=low, high=high)
    return estimates
