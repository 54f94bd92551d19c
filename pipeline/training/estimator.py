"""The scikit-learn pipeline: preprocessing inside, gradient boosting, and a sigmoid on its margin.

Only forms that skl2onnx converts exactly (see `export`, which proves it for every version). Entry points: `estimator`
and `calibrated`.
"""

from typing import TYPE_CHECKING, Any

from pipeline.models.bundle import Feature

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

PARAMETERS: dict[str, float | int | str] = {
    "learning_rate": 0.05,
    "max_iter": 200,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 30,
    "l2_regularization": 1.0,
}


def estimator(features: list[Feature], seed: int, parameters: dict[str, float | int | str]) -> "Pipeline":
    """Return the pipeline, not fitted yet.

    Categories become ordinals, unseen ones -1; numbers pass through with NaN, which the trees route by themselves.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    by_kind: dict[str, tuple[str, Any]] = {"number": ("numbers", "passthrough"), "category": ("categories", encoder)}
    transformers = [
        (*by_kind[kind], [feature.name for feature in features if feature.kind == kind])
        for kind in by_kind
        if any(feature.kind == kind for feature in features)
    ]
    # No early stopping: scikit-learn would hold out rows at random, across weeks.
    classifier = HistGradientBoostingClassifier(**parameters, early_stopping=False, random_state=seed)
    return Pipeline([("features", ColumnTransformer(transformers)), ("classifier", classifier)])


def calibrated(fitted: "Pipeline", rows: "pd.DataFrame", labels: "pd.Series[int]") -> "Pipeline":
    """Return the fitted pipeline with a sigmoid on its classifier's margin, fitted to rows it has not seen."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    classifier = fitted[-1]
    calibration = CalibratedClassifierCV(FrozenEstimator(classifier), method="sigmoid")
    calibration.fit(fitted[:-1].transform(rows), labels)
    # skl2onnx does not know FrozenEstimator; what it wraps is the same fitted classifier.
    calibration.estimator = classifier
    for member in calibration.calibrated_classifiers_:
        member.estimator = classifier
    return Pipeline([*fitted.steps[:-1], ("classifier", calibration)])
