"""The arrays of a version's `scorer.npz`, each checked when it is taken, for the models of the exact engine."""

import io
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline.errors import ModelError


class Arrays:
    """The arrays in the bytes of a file; every one must be taken, and `end` checks that none is left."""

    def __init__(self, content: bytes) -> None:
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                self._left = {name: file[name] for name in file.files}
        except Exception as error:  # noqa: BLE001 - a spoilt file fails in any way
            raise unfit(
                f"cannot be read: {type(error).__name__}: {error}", "plain arrays, as NumPy writes them"
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, dtype: DTypeLike, *shape: int | None) -> NDArray[Any]:
        """Return an array of this type and shape, in C order; None fits any length."""
        array = self._left.pop(name, np.empty(()))
        fits = array.dtype == dtype and array.ndim == len(shape)
        fits = fits and all(length in {None, found} for found, length in zip(array.shape, shape, strict=True))
        check(fits, f"{name!r} of type {dtype} and shape {shape}")
        return np.ascontiguousarray(array)

    def end(self) -> None:
        """Refuse arrays that no model has taken."""
        check(not self._left, f"no other arrays than the model's, and not {', '.join(self._left)}")


def check(holds: Any, expected: str) -> None:
    """Refuse the file unless this holds, everywhere if it is an array."""
    if not np.all(holds):
        raise unfit("holds arrays that are no model", expected)


def unfit(found: str, expected: str) -> ModelError:
    """Return the error for a file that holds no model."""
    return ModelError(
        f"The version's file scorer.npz {found}.", f"{expected}.", "train a new version: barometer train."
    )
