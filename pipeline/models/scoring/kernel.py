"""The compiled kernel: `kernel.c` as a library, called through ctypes, where it was built and can be loaded.

`build_kernel` puts it beside this file at installation. Without it, or with one of another source, the models compute
the same bits in NumPy, more slowly. Entry points: `library`, `compiled` and, for NumPy, `satisfactions`.
"""

import ctypes
import hashlib
import logging
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.scoring.build_kernel import LIBRARY, SOURCE

LARGEST_EXPONENT = math.log(sys.float_info.max)
Scores = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The raw scores and the satisfactions, each of shape (rows,)."""

log = logging.getLogger(__name__)


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernel, or None if it was not built from the present source."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.source_digest.restype = ctypes.c_char_p
        if found.source_digest() != hashlib.sha256(SOURCE.read_bytes()).hexdigest().encode():
            raise OSError(f"{LIBRARY} was built from another kernel.c")  # noqa: TRY301 - one way without a kernel
    except (OSError, AttributeError) as error:
        log.warning("Scoring with NumPy, more slowly: %s", error)
        return None
    for function in (found.score_trees, found.score_linear):
        function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return found


def compiled(
    function: str, fields: Sequence[int | float | NDArray[Any]]
) -> Callable[[NDArray[np.float32]], Scores] | None:
    """Return a function of the kernel for a model, from a block of shape (features, rows); None without a kernel.

    `fields` are those of the model's structure in `kernel.c`, in order.
    """
    found = library()
    if found is None:
        return None
    kinds = {int: ctypes.c_int64, float: ctypes.c_double, np.ndarray: ctypes.c_void_p}
    declared = {"_fields_": [(f"field_{at}", kinds[type(each)]) for at, each in enumerate(fields)]}
    values = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in fields]
    model = type("Model", (ctypes.Structure,), declared)(*values)
    call, address = getattr(found, function), ctypes.addressof(model)

    def scores(block: NDArray[np.float32], _kept: Any = (model, fields)) -> Scores:
        made = np.empty((2, block.shape[1]))
        if call(address, block.ctypes.data, block.shape[1], made.ctypes.data):
            raise MemoryError
        return made[0], made[1]

    return scores


def satisfactions(raw: NDArray[np.float64], slope: float, intercept: float) -> NDArray[np.float64]:
    """Return scikit-learn's `expit(-(slope * raw + intercept))`, as the kernel does.

    Python's `exp` is the C library's, as the kernel's is. NumPy's differs in the last bit, by the processor.
    """
    exponents = (slope * raw + intercept).tolist()
    return np.array([0.0 if x > LARGEST_EXPONENT else 1.0 / (1.0 + math.exp(x)) for x in exponents])
