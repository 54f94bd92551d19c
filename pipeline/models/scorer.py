"""The one scoring path: features in, predictions out, for the weekly run, for evaluation and for the service.

A `Scorer` is a function `RecordBatch → RecordBatch` around the version's ONNX file. It knows
neither Airflow nor the warehouse, unpickles nothing, and gives a row the same numbers in any batch.
Entry points: `Scorer.load`, `Scorer.score` and `inputs`, which training uses too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.bundle import ONNX_FILE, Feature, open_bundle

MISSING = "__missing__"
"""Replaces an absent category, in training and in scoring. A real value of this name counts as absent."""
INPUT_PREFIX = "feature:"
"""Prefix of a feature's name in the ONNX file, so that it cannot clash with the name of an inner value."""
SCORES_SCHEMA = pa.schema([("satisfaction", pa.float64()), ("likely_satisfied", pa.bool_())])
ONNX_TYPES = {"number": "tensor(float)", "category": "tensor(string)"}


class Scorer:
    """A model version, ready to score: the bytes of its ONNX file, which must have the signature `features`.

    `likely_satisfied` is satisfaction at or above `threshold`.
    """

    def __init__(self, model: bytes, features: Sequence[Feature], threshold: float) -> None:
        self.features = tuple(features)
        self.threshold = threshold
        self._session = _session(model)
        self._check_signature()
        self._output = self._session.get_outputs()[1].name
        self._onnx_names = [(feature.name, INPUT_PREFIX + feature.name) for feature in features]

    @classmethod
    def load(cls, folder: Path, digest: str, *, threshold: float) -> Self:
        """Return the scorer of the bundle in `folder`, after checking its files.

        Raises
        ------
        ModelError
            If a file is not the registered one, or the ONNX file has another signature.
        """
        bundle = open_bundle(folder, digest)
        return cls(bundle.read(folder, ONNX_FILE), bundle.features, threshold)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `satisfaction` (float64, 0 to 1) and `likely_satisfied` (bool) for each row, in order.

        `batch` holds the feature columns, in any order; other columns are ignored.
        """
        return self.scores(self.satisfaction(inputs(batch, self.features)))

    def satisfaction(self, columns: Mapping[str, np.ndarray[Any, Any]]) -> NDArray[np.float64]:
        """Return the satisfaction of each row, in order, shape (rows,); `columns` are as `inputs` returns them."""
        feed = {onnx_name: columns[name] for name, onnx_name in self._onnx_names}
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

    def scores(self, satisfaction: NDArray[np.float64]) -> pa.RecordBatch:
        """Return the satisfaction and whether it reaches the threshold, as `SCORES_SCHEMA`."""
        return pa.record_batch([satisfaction, satisfaction >= self.threshold], schema=SCORES_SCHEMA)

    def _check_signature(self) -> None:
        found = [(given.name, given.type) for given in self._session.get_inputs()]
        expected = [(INPUT_PREFIX + feature.name, ONNX_TYPES[feature.kind]) for feature in self.features]
        if found != expected:
            unlike = sorted(set(found) ^ set(expected)) or found
            raise ModelError(
                f"The ONNX file's inputs are not the features of bundle.json: {unlike}.",
                f"{len(expected)} inputs, one for each feature, in order.",
                "train a new version: barometer train.",
            )


def inputs(batch: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the model's inputs by feature name, each of shape (rows, 1): float32 with NaN, or text with `MISSING`.

    Raises
    ------
    ModelError
        If a feature's column is absent or of the wrong type.
    """
    columns = _columns(batch, features)
    return {
        feature.name: finite(_numbers(columns[feature.name], feature))[:, None]
        if feature.kind == "number"
        else _texts(columns[feature.name], feature)[:, None]
        for feature in features
    }


def finite(numbers: np.ndarray[Any, Any]) -> NDArray[np.float32]:
    """Return numbers as the model takes them: rounded to float32, with NaN for missing or then infinite ones.

    An infinite number counts as absent, because it is a mistake and no step of scikit-learn's takes it.
    """
    with np.errstate(over="ignore"):
        rounded = numbers.astype(np.float32)
    rounded[np.isinf(rounded)] = np.nan
    return rounded


def _columns(batch: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> dict[str, pa.Array | pa.ChunkedArray]:
    names = batch.schema.names
    columns = dict(zip(names, batch.columns, strict=True))
    for feature in features:
        if feature.name not in columns or (len(columns) < len(names) and names.count(feature.name) > 1):
            raise _mismatch(feature, f"{names.count(feature.name)} columns of that name")
    return columns


def _numbers(column: pa.Array | pa.ChunkedArray, feature: Feature) -> np.ndarray[Any, Any]:
    kind = column.type
    if kind.id not in _NUMBERS:
        raise _mismatch(feature, f"a column of type {kind}")
    if not pa.types.is_floating(kind):
        # Through float64, like the snapshot's numbers: rounded directly, a large integer may differ in its last bit.
        column = column.cast(pa.float64(), safe=False)
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _texts(column: pa.Array | pa.ChunkedArray, feature: Feature) -> np.ndarray[Any, Any]:
    kind = column.type
    if not _is_text(kind):
        raise _mismatch(feature, f"a column of type {kind}")
    if not pa.types.is_string(kind):
        column = column.cast(pa.string())
    if column.null_count:
        column = column.fill_null(MISSING)
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return kind.id in _TEXTS


_NUMBERS = {
    kind.id
    for kind in (
        *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.decimal32(1), pa.decimal64(1), pa.decimal128(1), pa.decimal256(1)),
    )
}
_TEXTS = {kind.id for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null())}


def _mismatch(feature: Feature, found: str) -> ModelError:
    return ModelError(
        f"For the model's feature {feature.name!r} there is {found}.",
        f"one column {feature.name!r} holding a {feature.kind}.",
        "let features.sql return it as in training, or train on the new features: barometer train.",
    )


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
