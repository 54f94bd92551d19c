"""The two families of scikit-learn pipelines, preprocessing included, and the sigmoid that calibrates the chosen one.

They hold only steps that skl2onnx converts exactly; `parity` checks that for every version. Entry points, in the order
of their use: `SPACES`, `estimator` and `threads_for` (tune, fit), `round_to_float32` and `calibrated` (fit).
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.models.bundle import Feature
from pipeline.settings.model import Space, Span
from pipeline.training.handoffs import Parameters

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

LOGISTIC_REGRESSION = "logistic_regression"
HIST_GRADIENT_BOOSTING = "hist_gradient_boosting"
SPACES: dict[str, Space] = {
    LOGISTIC_REGRESSION: {"C": Span(low=0.001, high=10, log=True)},
    HIST_GRADIENT_BOOSTING: {
        "learning_rate": Span(low=0.03, high=0.3, log=True),
        "max_iter": Span(low=50, high=400, log=True, integer=True),
        "max_leaf_nodes": Span(low=4, high=63, log=True, integer=True),
        "min_samples_leaf": Span(low=10, high=200, log=True, integer=True),
        "l2_regularization": Span(low=0.01, high=10, log=True),
    },
}
"""What is searched if `[tuning.space]` is empty."""
HANDLING = {
    LOGISTIC_REGRESSION: "An absent number becomes the median of the train rows. Each number becomes its rank among the"
    " train rows, from 0 to 1, so that an extreme number weighs no more than the highest one seen there. Categories are"
    " one-hot; unseen ones are all zeros.",
    HIST_GRADIENT_BOOSTING: "Trees compare a number with thresholds, so an extreme number counts only as being beyond"
    " the last one. Absent numbers take the branch that fitted the train rows. Categories are ordinals; unseen ones"
    " are -1.",
}
"""What each family does with absent, extreme and unseen values; shown in the training report and the model card."""
ROWS_FOR_THREADS = 100_000
QUANTILES = 30
"""More quantiles hardly improve the model, but skl2onnx compiles 100 of them a hundred times slower."""


def estimator(features: list[Feature], family: str, parameters: Parameters, seed: int) -> "Pipeline":
    """Return the family's pipeline with the classifier's `parameters`, not fitted.

    It takes a frame as `pipeline.training.training_set.frame` makes it.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.pipeline import Pipeline

    steps = _logistic_regression if family == LOGISTIC_REGRESSION else _hist_gradient_boosting
    numbers, categories, classifier = steps(seed)
    names = {kind: [feature.name for feature in features if feature.kind == kind] for kind in ("number", "category")}
    transformers = [("numbers", numbers, names["number"]), ("categories", categories, names["category"])]
    classifier.set_params(**parameters)
    return Pipeline(
        [
            ("features", ColumnTransformer([each for each in transformers if each[2]])),
            ("varied", VarianceThreshold()),  # the trees fail on a column without any number, as few rows may have
            ("classifier", classifier),
        ]
    )


def _logistic_regression(seed: int) -> tuple[Any, Any, "BaseEstimator"]:
    """Numbers become ranks, because one outlier would squeeze standardised numbers together."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    rank = QuantileTransformer(n_quantiles=QUANTILES, random_state=seed)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    return Pipeline([("impute", impute), ("rank", rank)]), one_hot, LogisticRegression(max_iter=1000, random_state=seed)


def _hist_gradient_boosting(seed: int) -> tuple[Any, Any, "BaseEstimator"]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.preprocessing import OrdinalEncoder

    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    # No early stopping: scikit-learn would hold out rows at random, across weeks.
    return "passthrough", ordinal, HistGradientBoostingClassifier(early_stopping=False, random_state=seed)


def threads_for(rows: int) -> AbstractContextManager[object]:
    """Return a context in which a small fit uses one thread.

    Threads share the work of every tree node. On a busy machine they wait for each other longer
    than they help: 54 s for a fit of 1 s, as measured.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1 if rows < ROWS_FOR_THREADS else None)
    return limits


def round_to_float32(fitted: "Pipeline") -> "Pipeline":
    """Return our fitted pipeline with its quantiles and thresholds rounded to float32, as ONNX stores them.

    Where two quantiles are nearly equal, their last digits decide a rank: 0.007 of satisfaction, as measured. A tree's
    threshold lies half-way between two values, and rounded down it stays between them; ONNX would round some up. The
    coefficients of a regression become float64, so that scikit-learn's sum does not lose digits. A team's own pipeline
    is left alone, and refused at export if this matters.
    """
    rank = fitted.get_params().get("features__numbers__rank")
    if rank is not None:
        rank = fitted["features"].named_transformers_["numbers"]["rank"]
        rank.quantiles_ = rank.quantiles_.astype("f4").astype("f8")
        rank.references_ = rank.references_.astype("f4").astype("f8")
    if hasattr(fitted[-1], "coef_"):
        fitted[-1].coef_ = fitted[-1].coef_.astype("f8")
    for trees in getattr(fitted[-1], "_predictors", []):
        for tree in trees:
            tree.nodes["num_threshold"] = rounded_down(tree.nodes["num_threshold"])
    return fitted


def rounded_down(values: "NDArray[np.float64]") -> "NDArray[np.float32]":
    """Return the highest float32 at or below each value."""
    near = values.astype("f4")
    is_above = near > values
    near[is_above] = np.nextafter(near[is_above], np.float32(-np.inf))
    return near


def calibrated(fitted: "Pipeline", rows: "pd.DataFrame", labels: "pd.Series[int]") -> "Pipeline":
    """Return the pipeline with a sigmoid on its classifier's margin, fitted to rows unknown to the classifier."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    classifier = fitted[-1]
    calibration = CalibratedClassifierCV(FrozenEstimator(classifier), method="sigmoid")
    calibration.fit(fitted[:-1].transform(rows), labels)
    # skl2onnx does not know FrozenEstimator, so put the fitted classifier back in its place.
    calibration.estimator = classifier
    for member in calibration.calibrated_classifiers_:
        member.estimator = classifier
    return Pipeline([*fitted.steps[:-1], ("classifier", calibration)])
