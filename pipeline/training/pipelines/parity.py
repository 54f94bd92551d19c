"""Parity: an engine must give every row scikit-learn's number, before a version is registered.

ONNX's satisfaction may differ by its tolerance. The exact engine's raw score is compared, and its satisfaction must be
within one unit in the last place of what scikit-learn's calibration makes of that score.

The rows compared are training rows as they are, then with each feature in turn made absent, unseen
or extreme, then with several unusual features at once. Both sides get what
`pipeline.models.scoring.columns.inputs` makes of a row, as in scoring. The entry point is `check_parity`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.bundle import Feature
from pipeline.models.scoring.columns import MISSING, inputs
from pipeline.models.scoring.onnx import OnnxEngine
from pipeline.models.scoring.scorer import Engine
from pipeline.training.training_set import frame

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

PARITY_ROWS = 50_000
"""The fewest rows compared in all, and the most training rows compared as they are."""
VARIANT_ROWS = 200
"""For each feature and unusual value."""
UNUSUAL_FRACTION = 0.2
"""The fraction of unusual values in rows with several of them."""
UNUSUAL: dict[str, tuple[Any, ...]] = {
    "number": (
        np.nan,
        np.inf,
        -np.inf,
        1e30,  # not float32's highest number: a step that scales makes that infinite in scikit-learn
        -1e30,
        0.0,
        np.finfo("f4").smallest_subnormal,
    ),
    "category": (MISSING, "", "unseen in training", "None", "nan", "ünseen ✓"),
}


def check_parity(pipeline: "Pipeline", engine: Engine, rows: "pd.DataFrame") -> int:
    """Refuse an engine that differs in any row by more than its tolerance; return how many rows were compared."""
    import pandas as pd

    cases = {"rows as in training": _spread(rows, min(PARITY_ROWS, len(rows)))}
    few = _spread(rows, min(VARIANT_ROWS, len(rows)))
    for feature in engine.features:
        for value in UNUSUAL[feature.kind]:
            variant = few.assign(**{feature.name: np.full(len(few), value, dtype=few[feature.name].dtype)})
            cases[f"rows with feature {feature.name!r} = {value!r}"] = variant
    missing_rows = PARITY_ROWS - sum(map(len, cases.values()))
    cases["rows with several unusual values"] = _varied(_spread(rows, max(missing_rows, len(few))), engine.features)
    compared = pd.concat(cases.values(), ignore_index=True)
    try:
        unlike = _differences(pipeline, engine, compared)
    except ValueError:
        raise _refused_by(pipeline, engine, cases) from None
    first = 0
    for words, case in cases.items():
        found = unlike[first : first + len(case)]
        if not (found <= engine.tolerance).all():  # NaN counts as a difference too
            raise _unequal(engine, words, found, _at_fault(pipeline, engine, case, found))
        first += len(case)
    return len(compared)


def _spread(rows: "pd.DataFrame", number: int) -> "pd.DataFrame":
    """Return this many rows, spread evenly over all; rows repeat if there are fewer."""
    return rows.iloc[np.linspace(0, len(rows) - 1, number).astype(int)]


def _varied(rows: "pd.DataFrame", features: tuple[Feature, ...]) -> "pd.DataFrame":
    random = np.random.default_rng(0)
    varied = rows.copy()
    for feature in features:
        unusual = np.array(UNUSUAL[feature.kind], dtype=rows[feature.name].dtype)
        is_unusual = random.random(len(rows)) < UNUSUAL_FRACTION
        varied.loc[is_unusual, feature.name] = random.choice(unusual, is_unusual.sum())
    return varied


def _differences(pipeline: "Pipeline", engine: Engine, rows: "pd.DataFrame") -> NDArray[np.float64]:
    table = pa.table({name: pa.array(rows[name].to_numpy()) for name in rows})
    ours, theirs = inputs(table, engine.features), frame(table, list(engine.features))
    if isinstance(engine, OnnxEngine):
        unlike: NDArray[np.float64] = np.abs(engine.satisfaction(ours) - pipeline.predict_proba(theirs)[:, 1])
        return unlike
    member = pipeline[-1].calibrated_classifiers_[0]
    raw = engine.raw(ours)
    unlike = np.abs(raw - member.estimator.decision_function(pipeline[:-1].transform(theirs)))
    expected = member.calibrators[0].predict(raw)
    unlike[~(np.abs(engine.satisfaction(ours) - expected) <= np.spacing(expected))] = np.inf
    return unlike


def _refused_by(pipeline: "Pipeline", engine: Engine, cases: "dict[str, pd.DataFrame]") -> ModelError:
    """Return an error that names the first rows which the pipeline does not take."""
    for words, case in cases.items():
        try:
            _differences(pipeline, engine, case)
        except ValueError as error:
            return ModelError(
                f"The pipeline fails on {words}: {str(error).splitlines()[0]}",
                "a satisfaction for every row; values of that kind do arrive.",
                "add a step that handles them, such as an imputer or an encoder that knows unseen categories.",
            )
    raise AssertionError  # it fails on all cases together, so on one of them


def _at_fault(pipeline: "Pipeline", engine: Engine, rows: "pd.DataFrame", unlike: NDArray[np.float64]) -> str | None:
    """Return the feature at fault: with another row's value of it, the row that differs most differs least."""
    import pandas as pd

    unlike = np.nan_to_num(unlike, nan=np.inf)
    worst, best = unlike.argmax(), unlike.argmin()
    if unlike[best] > engine.tolerance:
        return None
    row, other = rows.iloc[[worst]], rows.iloc[best]
    trials = pd.concat([row.assign(**{f.name: other[f.name]}).astype(row.dtypes) for f in engine.features])
    left = np.nan_to_num(_differences(pipeline, engine, trials), nan=np.inf)
    return engine.features[left.argmin()].name if left.min() < unlike[worst] else None


def _unequal(engine: Engine, words: str, unlike: NDArray[np.float64], feature: str | None) -> ModelError:
    number = (~(unlike <= engine.tolerance)).sum()
    form = "ONNX" if isinstance(engine, OnnxEngine) else "The exact engine"
    fault = f", by feature {feature!r}" if feature and repr(feature) not in words else ""
    return ModelError(
        f"{form} and scikit-learn differ by up to {unlike.max():.2g} in {number} of {len(unlike)} {words}{fault}.",
        f"a difference of at most {engine.tolerance:g} in every row.",
        "replace the step that handles this feature by one that converts exactly"
        " (see docs/decisions/0006-float32-and-onnx.md).",
    )
