"""Gradient-boosted trees: the sum of one leaf of each tree, to scikit-learn's bits.

A few rows walk through the trees. Many rows are scored together: each number becomes a code, the count of its feature's
thresholds below it, in one byte. A tree is then a list of steps from its leaves upward. Each step takes, for all rows
at once, the right result where the code is above the step's, and else the left one. Both ways compare the same numbers
and add the same leaves in the order of the trees, in float64, as scikit-learn does. `kernel.c` does the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.scoring.arrays import Arrays, check

NODE = np.dtype([("value", "f8"), ("threshold", "f4"), ("feature", "i4"), ("right", "i4"), ("is_missing_left", "i4")])
"""A node. In a leaf (feature -1) only `value` counts. Otherwise a row whose number is at most `threshold`, or missing
if `is_missing_left`, goes to the next node, and another row to the node `right`."""
COLUMN = np.dtype([("feature", "i4"), ("missing", "i4")])
"""The codes of a feature, less 128; `missing` is a missing number's, the lowest or the highest."""
STEP = np.dtype([(name, "u1") for name in ("kind", "left", "right", "slot")] + [("column", "u2"), ("code", "i2")])
"""Where the column's code is above `code`, the result in the slot becomes the right one, and else the left one. These
are leaves' numbers; but with `LEFT_IN_SLOT` in `kind` the left one is in the slot already, and with `RIGHT_IN_SLOT` the
right one is there or, with both, in the slot after it."""
LEFT_IN_SLOT, RIGHT_IN_SLOT = 1, 2
MOST_LEAVES, MOST_THRESHOLDS = 256, 254
"""A leaf's number is a byte. So is a code: 0 to 254 thresholds are below a number, and 255 marks a missing one."""
WIDTH = 256
"""Of the padded thresholds of a feature."""
FEW_ROWS = 512
"""Up to here NumPy walks: the steps take 10 ms for any number of rows."""
BLOCK_ROWS = 32_768
"""NumPy takes the steps for this many rows at once."""


class Trees:
    """Trees from the arrays `nodes` (parents before children) and `first_node` (of each tree, then the end).

    `baseline` is what the sum begins with.
    """

    function = "score_trees"
    tolerance = 0.0
    """How far a raw score may lie from scikit-learn's."""

    def __init__(self, arrays: Arrays, features: int, baseline: float) -> None:
        self._nodes = arrays.take("nodes", NODE, None)
        self._first_node = arrays.take("first_node", np.int32, None)
        self._baseline = baseline
        self._is_leaf = self._nodes["feature"] < 0
        self._check(features)
        inner = np.flatnonzero(~self._is_leaf)
        feature, threshold = self._nodes["feature"][inner], self._nodes["threshold"][inner]
        self._thresholds = [np.unique(threshold[feature == each]) for each in range(features)]
        finite = np.array([np.count_nonzero(each < np.inf) for each in self._thresholds])
        check(finite <= MOST_THRESHOLDS, f"at most {MOST_THRESHOLDS} thresholds of a feature")
        columns, column = np.unique(np.r_[0, 2 * feature + self._nodes["is_missing_left"][inner]], return_inverse=True)
        self._columns = np.zeros(len(columns), COLUMN)
        self._columns["feature"], self._columns["missing"] = columns // 2, np.where(columns % 2, -128, 127)
        self._column = np.zeros(len(self._nodes), int)
        self._column[inner] = column[1:]
        self._code = np.zeros(len(self._nodes), int)
        for each, thresholds in enumerate(self._thresholds):
            self._code[inner[feature == each]] = np.searchsorted(thresholds, threshold[feature == each]) - 128
        programs = [self._program(*bounds) for bounds in zip(self._first_node[:-1], self._first_node[1:], strict=True)]
        self._steps = np.array([step for program in programs for step in program], STEP)
        self._first_step = np.cumsum([0, *map(len, programs)], dtype=np.int32)
        self._leaves = self._nodes["value"][self._is_leaf]
        self._first_leaf = np.r_[0, np.cumsum(self._is_leaf)].astype(np.int32)[self._first_node]

    def fields(self) -> list[Any]:
        """Return the fields of the kernel's `Trees`, after the calibration, in order."""
        padded = np.full((len(self._thresholds), WIDTH), np.inf, np.float32)
        for row, thresholds in zip(padded, self._thresholds, strict=True):
            row[: len(thresholds)] = thresholds
        sizes = [len(self._first_node) - 1, len(self._columns), int(self._steps["slot"].max())]
        counts = np.array([*map(len, self._thresholds)], np.int32)
        arrays = [self._nodes, self._first_node, padded, counts, self._columns, self._steps, self._first_step]
        return [*sizes, *arrays, self._leaves, self._first_leaf]

    def raw(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the sums of rows, in order, shape (rows,); `block` has the shape (features, rows)."""
        size = FEW_ROWS if block.shape[1] <= FEW_ROWS else BLOCK_ROWS
        some = self._walk if block.shape[1] <= FEW_ROWS else self._take_steps
        return np.concatenate([some(block[:, at : at + size]) for at in range(0, max(block.shape[1], 1), size)])

    def _check(self, features: int) -> None:
        """Refuse nodes that are no trees."""
        nodes, first, is_leaf = self._nodes, self._first_node, self._is_leaf
        sizes = first[1:].astype(np.int64) - first[:-1]
        check(len(sizes) and (sizes > 0).all() and first[0] == 0 and first[-1] == len(nodes), "trees in a row")
        check((nodes["feature"] < features) & (nodes["feature"] >= -1), "features of bundle.json")
        check(np.isfinite(nodes["value"]) & ~np.isnan(nodes["threshold"]), "numbers as values and thresholds")
        check((nodes["is_missing_left"] >> 1) == 0, "is_missing_left of 0 or 1")
        check(np.add.reduceat(is_leaf, first[:-1], dtype=int) <= MOST_LEAVES, f"at most {MOST_LEAVES} leaves a tree")
        parents = np.flatnonzero(~is_leaf)
        children = np.r_[parents + 1, nodes["right"][parents]]
        tree = np.repeat(np.arange(len(sizes)), sizes)
        others = np.delete(np.arange(len(nodes)), first[:-1])
        check(np.array_equal(np.sort(children), others), "each node but the first of a tree once as a child")
        parents = np.r_[parents, parents]
        check((children > parents) & (tree[children] == tree[parents]), "children after their parents, in one tree")

    def _program(self, first: int, end: int) -> list[tuple[int, ...]]:
        """Return the steps of the tree whose nodes are from `first` to before `end`."""
        number = (np.cumsum(self._is_leaf[first:end]) - 1).tolist()
        is_leaf, right = self._is_leaf[first:end].tolist(), (self._nodes["right"][first:end] - first).tolist()
        column, code = self._column[first:end].tolist(), self._code[first:end].tolist()
        steps: list[tuple[int, ...]] = []

        def add(node: int, slot: int) -> None:
            """Add the steps that put a node's result into a slot."""
            left, other = node + 1, right[node]
            kind = LEFT_IN_SLOT * (not is_leaf[left]) + RIGHT_IN_SLOT * (not is_leaf[other])
            if kind & LEFT_IN_SLOT:
                add(left, slot)
            if kind & RIGHT_IN_SLOT:
                add(other, slot + (kind & LEFT_IN_SLOT))
            of_left, of_right = (number[child] if is_leaf[child] else 0 for child in (left, other))
            steps.append((kind, of_left, of_right, slot, column[node], code[node]))

        if is_leaf[0]:
            return [(0,) * 6]
        add(0, 0)
        return steps

    def _walk(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Let the rows walk through all trees at once, each until it is at a leaf."""
        threshold, feature, right = (self._nodes[name] for name in ("threshold", "feature", "right"))
        at = np.tile(self._first_node[:-1], block.shape[1])
        row = np.repeat(np.arange(block.shape[1]), len(self._first_node) - 1)
        ends, walking = at.copy(), np.arange(len(at))
        while len(walking):
            is_inner = feature[at] >= 0
            ends[walking] = at
            at, row, walking = at[is_inner], row[is_inner], walking[is_inner]
            number = block[feature[at], row]
            goes_left = np.where(np.isnan(number), self._nodes["is_missing_left"][at] == 1, number <= threshold[at])
            at = np.where(goes_left, at + 1, right[at])
        # Each partial sum is computed from the one before it, so the order is that of the trees.
        leaves = self._nodes["value"][ends].reshape(block.shape[1], -1)
        values = np.c_[np.full(len(leaves), self._baseline), leaves]
        sums: NDArray[np.float64] = np.add.accumulate(values, axis=1)[:, -1]
        return sums

    def _take_steps(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take the steps of each tree for all rows."""
        rows = block.shape[1]
        codes = np.empty((len(self._columns), rows), np.int8)
        for code, (feature, missing) in zip(codes, self._columns.tolist(), strict=True):
            below = np.searchsorted(self._thresholds[feature], block[feature]) - 128
            code[:] = np.where(np.isnan(block[feature]), missing, below)
        results = np.zeros((int(self._steps["slot"].max()) + 2, rows), np.uint8)
        sums, takes_other, change = np.full(rows, self._baseline), np.empty(rows, bool), np.empty(rows, np.uint8)
        steps = self._steps.tolist()
        for first, end, first_leaf in zip(self._first_step, self._first_step[1:], self._first_leaf, strict=False):
            for kind, left, right, slot, column, code in steps[first:end]:
                result = results[slot]
                if kind == 0:
                    result.fill(left)
                other = (right, right, left, results[slot + 1])[kind]
                (np.less_equal if kind == RIGHT_IN_SLOT else np.greater)(codes[column], code, out=takes_other)
                np.subtract(other, result, out=change)  # modulo 256, as all of bytes
                np.multiply(change, takes_other, out=change)
                np.add(result, change, out=result)
            sums += self._leaves[first_leaf:].take(results[0])
        return sums
