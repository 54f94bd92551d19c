"""A model version, ready to score: a function `RecordBatch → RecordBatch` around the engine of its files.

It knows neither Airflow nor the warehouse, unpickles nothing, and gives a row the same numbers in any batch. Entry
points: `Scorer.load` for a sealed bundle, `Scorer.score`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.models.bundle import ARRAYS_FILE, ONNX_FILE, Bundle, Feature, open_bundle
from pipeline.models.scoring.columns import Columns, inputs
from pipeline.models.scoring.exact import ExactEngine
from pipeline.models.scoring.onnx import OnnxEngine

SCORES_SCHEMA = pa.schema([("satisfaction", pa.float64()), ("likely_satisfied", pa.bool_())])
Engine = ExactEngine | OnnxEngine


class Scorer:
    """An engine, and the threshold from which on a row is likely satisfied."""

    def __init__(self, engine: Engine, threshold: float) -> None:
        self.features = engine.features
        self.threshold = threshold
        self._engine = engine

    @classmethod
    def load(cls, folder: Path, digest: str, *, threshold: float) -> Self:
        """Return the scorer of the bundle in `folder`, after checking its files.

        Raises
        ------
        ModelError
            If a file is not the registered one, or does not fit the bundle's features.
        """
        bundle = open_bundle(folder, digest)
        return cls(engine_in(folder, bundle.features, bundle), threshold)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `satisfaction` (float64, 0 to 1) and `likely_satisfied` (bool) for each row, in order.

        `batch` holds the feature columns, in any order; other columns are ignored.
        """
        return self.scores(self.satisfaction(inputs(batch, self.features)))

    def satisfaction(self, columns: Columns) -> NDArray[np.float64]:
        """Return the satisfaction of each row, in order, shape (rows,); `columns` are as `inputs` returns them."""
        return self._engine.satisfaction(columns)

    def scores(self, satisfaction: NDArray[np.float64]) -> pa.RecordBatch:
        """Return the satisfaction and whether it reaches the threshold, as `SCORES_SCHEMA`."""
        return pa.record_batch([satisfaction, satisfaction >= self.threshold], schema=SCORES_SCHEMA)


def engine_in(folder: Path, features: Sequence[Feature], bundle: Bundle | None = None) -> Engine:
    """Return the engine for a version's files: the exact one if it has arrays, else ONNX Runtime.

    With their `bundle`, the files are checked against its digests.
    """
    names = bundle.files if bundle else [path.name for path in folder.iterdir()]
    name, engine = (ARRAYS_FILE, ExactEngine) if ARRAYS_FILE in names else (ONNX_FILE, OnnxEngine)
    return engine(bundle.read(folder, name) if bundle else (folder / name).read_bytes(), features)
