"""Logistic regression on ranks and one-hot categories: a sum of table look-ups, in float64.

A number's rank is a straight piece between two of the training's quantiles, or one value on a quantile. Which one is
the count of the feature's thresholds below the number. `kernel.c` computes the same bits.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.scoring.arrays import Arrays, check
from pipeline.models.scoring.trees import MOST_THRESHOLDS, WIDTH


class Linear:
    """A linear model from these arrays, with a row for each feature (of a category, zeros) where nothing else is said.

    `thresholds`: float32 (features, `WIDTH`), ascending, padded with infinity. `pieces`: float64 (features, `WIDTH`,
    3); a number's rank is `pieces[0] + pieces[1] * (number - pieces[2])`, rounded to float32. `medians`: float32,
    in place of a missing number. `coefficients`: float64, of the ranks. `category_coefficients`: float64, for each
    category feature first 0, of an unseen category, then each code's.

    `baseline` is what the sum begins with. `known` says how many codes a category feature has, and None for a number.
    """

    function = "score_linear"
    tolerance = 1e-6
    """How far a raw score may lie from scikit-learn's."""

    def __init__(self, arrays: Arrays, known: Sequence[int | None], baseline: float) -> None:
        features = len(known)
        self._thresholds = arrays.take("thresholds", np.float32, features, WIDTH)
        self._pieces = arrays.take("pieces", np.float64, features, WIDTH, 3)
        self._medians = arrays.take("medians", np.float32, features)
        self._coefficients = arrays.take("coefficients", np.float64, features)
        sizes = [0 if codes is None else codes + 1 for codes in known]
        self._of_categories = arrays.take("category_coefficients", np.float64, sum(sizes))
        self._baseline = baseline
        for numbers in (self._pieces, self._medians, self._coefficients, self._of_categories):
            check(np.isfinite(numbers), "finite numbers")
        check(self._thresholds[:, 1:] >= self._thresholds[:, :-1], "ascending thresholds")
        self._counts = np.count_nonzero(self._thresholds < np.inf, axis=1).astype(np.int32)
        check(self._counts <= MOST_THRESHOLDS, f"at most {MOST_THRESHOLDS} thresholds of a feature")
        starts = np.cumsum([0, *sizes])[:-1]
        self._first_category = np.where(np.array(sizes) > 0, starts, -1).astype(np.int32)

    def fields(self) -> list[Any]:
        """Return the fields of the kernel's `Linear`, after the calibration, in order."""
        arrays = [self._thresholds, self._counts, self._pieces, self._medians, self._coefficients]
        return [len(self._counts), *arrays, self._first_category, self._of_categories]

    def raw(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the sums of rows, in order, shape (rows,); `block` has the shape (features, rows)."""
        sums = np.full(block.shape[1], self._baseline)
        for feature, (given, first) in enumerate(zip(block, self._first_category.tolist(), strict=True)):
            if first >= 0:
                sums += self._of_categories[first + 1 + given.astype(np.int32)]
                continue
            numbers = np.where(np.isnan(given), self._medians[feature], given)
            below = np.searchsorted(self._thresholds[feature], numbers)
            base, slope, origin = self._pieces[feature, below].T
            ranks = (base + slope * (numbers.astype(np.float64) - origin)).astype(np.float32)
            sums += self._coefficients[feature] * ranks.astype(np.float64)
        return sums
