"""The exact engine: it scores the families that we train from plain arrays, to scikit-learn's own bits.

The arrays come from `pipeline.training.pipelines.array_export`, in the sealed file `scorer.npz`. They are numbers
alone, and are checked before they are used, so that no file makes the kernel read outside of them. The categories'
texts are those of bundle.json. The entry point is `ExactEngine`.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.models.bundle import Feature
from pipeline.models.scoring.arrays import Arrays, check
from pipeline.models.scoring.columns import MISSING, Column, Columns, dictionary_of
from pipeline.models.scoring.kernel import Scores, compiled, satisfactions
from pipeline.models.scoring.linear import Linear
from pipeline.models.scoring.trees import Trees

UNSEEN = -1
"""The code of a category that the encoder was not fitted on."""
MOST_CODES = 2**24
"""Above it float32 does not hold every integer."""

Codes = Mapping[str | None, int]


class ExactEngine:
    """The model in the bytes of a version's `scorer.npz`, for the signature `features`.

    The file has the arrays of `Trees` or of `Linear`, and two more. `codes`: int32, for each category feature its
    encoder's code of each category in bundle.json and of `MISSING`, or `UNSEEN`. `calibration`: float64, what a raw
    score begins with, then the sigmoid's slope and intercept. Without `use_kernel`, NumPy computes the same bits.
    """

    def __init__(self, content: bytes, features: Sequence[Feature], *, use_kernel: bool = True) -> None:
        self.features = tuple(features)
        arrays = Arrays(content)
        texts = [[*feature.categories, MISSING] if feature.kind == "category" else [] for feature in features]
        codes = arrays.take("codes", np.int32, sum(map(len, texts)))
        check((codes >= UNSEEN) & (codes < MOST_CODES), "codes of categories")
        left = iter(codes.tolist())
        self._codes = [(feature.name, _codes(each, left)) for feature, each in zip(features, texts, strict=True)]
        known = [max(codes.values()) + 1 if codes else None for _, codes in self._codes]
        calibration = arrays.take("calibration", np.float64, 3)
        check(np.isfinite(calibration), "finite numbers")
        baseline, self._slope, self._intercept = calibration.tolist()
        self._model = Trees(arrays, len(known), baseline) if "nodes" in arrays else Linear(arrays, known, baseline)
        arrays.end()
        self.tolerance = self._model.tolerance
        fields = [baseline, self._slope, self._intercept, *self._model.fields()]
        self._compiled = compiled(self._model.function, fields) if use_kernel else None

    def satisfaction(self, columns: Columns) -> NDArray[np.float64]:
        """Return the satisfaction of each row, in order, shape (rows,)."""
        return self._scores(columns)[1]

    def raw(self, columns: Columns) -> NDArray[np.float64]:
        """Return the scores before calibration, scikit-learn's `decision_function`, in order, shape (rows,)."""
        return self._scores(columns)[0]

    def _scores(self, columns: Columns) -> Scores:
        block = np.array([_coded(columns[name], codes) for name, codes in self._codes], dtype=np.float32)
        if self._compiled is not None:
            return self._compiled(block)
        raw = self._model.raw(block)
        return raw, satisfactions(raw, self._slope, self._intercept)


def _codes(texts: Sequence[str], left: Iterator[int]) -> Codes | None:
    """Return the codes of a category feature, None being a missing one; None for a number."""
    codes: dict[str | None, int] = {text: next(left) for text in texts}
    return {**codes, None: codes[MISSING]} if codes else None


def _coded(column: Column, codes: Codes | None) -> Column:
    """Return a feature's row of the block: numbers as they are, and a category's codes, each text looked up once."""
    if codes is None:
        return column
    if not isinstance(column, pa.DictionaryArray):
        return [codes.get(text, UNSEEN) for text in column]
    texts, positions = dictionary_of(column)
    return np.array([codes.get(text, UNSEEN) for text in texts], np.float32)[positions]
