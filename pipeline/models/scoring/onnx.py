"""The ONNX engine: it scores the pipelines that have no arrays, and the export compares the others with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.bundle import Feature
from pipeline.models.scoring.columns import Columns, as_in_training

INPUT_PREFIX = "feature:"
"""Prefix of a feature's name in the ONNX file, so that it cannot clash with the name of an inner value."""
ONNX_TYPES = {"number": "tensor(float)", "category": "tensor(string)"}


class OnnxEngine:
    """ONNX Runtime with the bytes of a version's ONNX file, which must have the signature `features`."""

    tolerance = 1e-5
    """How far a satisfaction may lie from scikit-learn's."""

    def __init__(self, model: bytes, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self._session = _session(model)
        found = [(given.name, given.type) for given in self._session.get_inputs()]
        expected = [(INPUT_PREFIX + feature.name, ONNX_TYPES[feature.kind]) for feature in features]
        if found != expected:
            unlike = sorted(set(found) ^ set(expected)) or found
            raise ModelError(
                f"The ONNX file's inputs are not the features of bundle.json: {unlike}.",
                f"{len(expected)} inputs, one for each feature, in order.",
                "train a new version: barometer train.",
            )
        self._output = self._session.get_outputs()[1].name

    def satisfaction(self, columns: Columns) -> NDArray[np.float64]:
        """Return the satisfaction of each row, in order, shape (rows,)."""
        feed = {
            INPUT_PREFIX + feature.name: as_in_training(columns[feature.name], feature)[:, None]
            for feature in self.features
        }
        rows = len(columns[self.features[0].name])
        if not rows:  # ONNX Runtime refuses empty inputs
            return np.empty(0)
        try:
            return self._session.run([self._output], feed)[0][:, 1].astype(np.float64)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - its errors have no common base class
            raise ModelError(
                f"The model's ONNX file fails on {rows} rows: {str(error).splitlines()[0]}.",
                "a satisfaction for each row.",
                "use another version; train one that runs on such rows: barometer train.",
            ) from None


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # with more, the last bits depend on the batch's size
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its errors have no common base class
        raise ModelError(
            f"The model's ONNX file cannot be loaded: {str(error).splitlines()[0]}.",
            f"an ONNX model that onnxruntime {onnxruntime.__version__} runs.",
            "train a new version with the installed libraries: barometer train.",
        ) from None
