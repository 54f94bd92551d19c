"""The one scoring path: features in, predictions out, for the weekly run, for evaluation and for the sidecar.

A `Scorer` is a plain function `RecordBatch → RecordBatch` around the version's ONNX file. It knows neither Airflow nor
the warehouse, unpickles nothing, and gives a row the same numbers in whatever batch it comes. Entry points:
`Scorer.load` and `Scorer.score`; training builds its inputs with the same `inputs`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipeline.errors import ModelError
from pipeline.models.bundle import ONNX_FILE, Feature, open_bundle

MISSING = "__missing__"
"""Stands for an absent category, in training and in scoring alike; a real value of this name counts as absent."""
INPUT_PREFIX = "feature:"
"""Before a feature's name in the ONNX file, so that no feature's name can be that of an inner value."""
SCORES_SCHEMA = pa.schema([("satisfaction", pa.float64()), ("likely_satisfied", pa.bool_())])
ONNX_TYPES = {"number": "tensor(float)", "category": "tensor(string)"}


class Scorer:
    """A model version, ready to score.

    Parameters
    ----------
    model
        The ONNX file's bytes.
    features
        The signature the file must have.
    threshold
        `likely_satisfied` is satisfaction at or above this.
    """

    def __init__(self, model: bytes, features: Sequence[Feature], threshold: float) -> None:
        self.features = tuple(features)
        self._threshold = threshold
        self._session = _session(model)
        self._check_signature()
        self._output = self._session.get_outputs()[1].name

    @classmethod
    def load(cls, folder: Path, digest: str, *, threshold: float) -> Self:
        """Return the scorer of the bundle in `folder`, after all its checks.

        Raises
        ------
        ModelError
            If a file is not the registered one, or the ONNX file has another signature.
        """
        bundle = open_bundle(folder, digest)
        return cls(bundle.read(folder, ONNX_FILE), bundle.features, threshold)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `satisfaction` (float64, 0 to 1) and `likely_satisfied` (bool) for each row, in order.

        Parameters
        ----------
        batch
            Holds the feature columns, in any order; other columns are ignored.

        Raises
        ------
        ModelError
            If a feature's column is absent or of the wrong type, or the ONNX file fails on the rows.
        """
        if not batch.num_rows:  # which ONNX Runtime's operators refuse
            return pa.RecordBatch.from_pylist([], schema=SCORES_SCHEMA)
        feed = {INPUT_PREFIX + name: column for name, column in inputs(batch, self.features).items()}
        try:
            satisfaction = self._session.run([self._output], feed)[0][:, 1].astype(np.float64)
        except Exception as error:  # noqa: BLE001 - its errors have no other common base
            raise ModelError(
                found=f"The model's ONNX file fails on {batch.num_rows} rows: {str(error).splitlines()[0]}.",
                expected="a satisfaction for each row.",
                do="use another version; train one that runs on such rows: barometer train.",
            ) from None
        return pa.record_batch([satisfaction, satisfaction >= self._threshold], schema=SCORES_SCHEMA)

    def _check_signature(self) -> None:
        found = [(given.name, given.type) for given in self._session.get_inputs()]
        expected = [(INPUT_PREFIX + feature.name, ONNX_TYPES[feature.kind]) for feature in self.features]
        if found != expected:
            unlike = sorted(set(found) ^ set(expected)) or found
            raise ModelError(
                found=f"The ONNX file's inputs are not the features of bundle.json: {unlike}.",
                expected=f"{len(expected)} inputs, one for each feature, in order.",
                do="train a new version: barometer train.",
            )


def inputs(batch: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the model's inputs by feature name, each of shape (rows, 1): finite float32 or NaN; text with `MISSING`.

    Raises
    ------
    ModelError
        If a feature's column is absent or of the wrong type.
    """
    return {feature.name: _input(batch, feature).reshape(-1, 1) for feature in features}


def _input(batch: pa.RecordBatch | pa.Table, feature: Feature) -> np.ndarray[Any, Any]:
    if batch.schema.names.count(feature.name) != 1:
        raise _mismatch(feature, f"{batch.schema.names.count(feature.name)} columns of that name")
    column = batch.column(feature.name)
    if feature.kind == "number" and _is_number(column.type):
        # Through float64, as the snapshot's numbers: rounded directly, a large integer may differ in its last bit.
        rounded = column.cast(pa.float64(), safe=False).cast(pa.float32(), safe=False)
        values = rounded.to_numpy(zero_copy_only=False)
        # An infinite number is a mistake that no step of scikit-learn's takes, so it counts as absent.
        return np.where(np.isinf(values), np.float32(np.nan), values)
    if feature.kind == "category" and _is_text(column.type):
        return column.cast(pa.string()).fill_null(MISSING).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    raise _mismatch(feature, f"a column of type {column.type}")


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return any(
        f(kind) for f in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal, types.is_null)
    )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    types = pa.types
    return any(f(kind) for f in (types.is_string, types.is_large_string, types.is_string_view, types.is_null))


def _mismatch(feature: Feature, found: str) -> ModelError:
    return ModelError(
        found=f"For the model's feature {feature.name!r} there is {found}.",
        expected=f"one column {feature.name!r} holding a {feature.kind}.",
        do="let features.sql return it as it was in training, or train on the new features: barometer train.",
    )


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # with more, the last bits depend on the batch's size
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its errors have no other common base
        raise ModelError(
            found=f"The model's ONNX file cannot be loaded: {str(error).splitlines()[0]}.",
            expected=f"an ONNX model that onnxruntime {onnxruntime.__version__} runs.",
            do="train a new version with the installed libraries: barometer train.",
        ) from None
