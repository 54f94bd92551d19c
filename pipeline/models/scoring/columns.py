"""Columns: the features of a record batch, checked and ready for every engine and for training.

Categories stay dictionary codes, so that no Python string is made for a row. Entry points: `inputs` for an engine,
`as_in_training` for what scikit-learn and ONNX Runtime take.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.bundle import Feature

MISSING = "__missing__"
"""Replaces an absent category, in training and in scoring. A real value of this name counts as absent."""

Column: TypeAlias = NDArray[np.float32] | pa.DictionaryArray | Sequence[Any]
"""A feature of some rows: finite numbers (NaN for missing), a dictionary of texts (null for missing), or, of a request,
a sequence of Python's numbers or texts (None for missing)."""
Columns = Mapping[str, Column]
"""By the feature's name; all of one length."""


def inputs(batch: pa.RecordBatch | pa.Table, features: Sequence[Feature]) -> dict[str, Column]:
    """Return the features of a batch or table, by name: float32 of shape (rows,) for a number, or a dictionary array.

    Raises
    ------
    ModelError
        If a feature's column is absent or of the wrong type.
    """
    columns = _columns(batch, features)
    return {
        feature.name: (_numbers if feature.kind == "number" else _texts)(columns[feature.name], feature)
        for feature in features
    }


def as_in_training(column: Column, feature: Feature) -> NDArray[Any]:
    """Return a column with shape (rows,) as the model was trained on it: float32 with NaN, or text with `MISSING`."""
    if feature.kind == "number":
        return np.array(column, dtype=np.float32)
    if not isinstance(column, pa.DictionaryArray):
        return np.array([MISSING if text is None else text for text in column], dtype=object)
    texts, codes = dictionary_of(column)
    return np.array([MISSING if text is None else text for text in texts], dtype=object)[codes]


def dictionary_of(column: pa.DictionaryArray) -> tuple[list[str | None], NDArray[np.int32]]:
    """Return the distinct texts, with None as the last, and each row's position among them, shape (rows,)."""
    codes = column.indices.cast(pa.int32())
    texts = [*column.dictionary.to_pylist(), None]
    return texts, (codes.fill_null(len(texts) - 1) if codes.null_count else codes).to_numpy()


def finite(numbers: NDArray[Any]) -> NDArray[np.float32]:
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


def _numbers(column: pa.Array | pa.ChunkedArray, feature: Feature) -> NDArray[np.float32]:
    kind = column.type
    if kind.id not in _NUMBERS:
        raise _mismatch(feature, f"a column of type {kind}")
    if not pa.types.is_floating(kind):
        # Through float64, like the snapshot's numbers: rounded directly, a large integer may differ in its last bit.
        column = column.cast(pa.float64(), safe=False)
    return finite(column.to_numpy(zero_copy_only=False))


def _texts(column: pa.Array | pa.ChunkedArray, feature: Feature) -> pa.DictionaryArray:
    kind = column.type
    if not _is_text(kind):
        raise _mismatch(feature, f"a column of type {kind}")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(kind):
        return column
    return (column.cast(pa.string()) if pa.types.is_null(kind) else column).dictionary_encode()


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
