"""Arrays: a fitted pipeline of either family as the plain arrays that the exact engine scores.

This is the one place that reads what scikit-learn keeps inside of a fitted model, some of it private (`_predictors`,
`_baseline_prediction`); tests/models/test_exact.py notices an upgrade that changes it. The entry point is `to_arrays`.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.bundle import Feature
from pipeline.models.scoring.columns import MISSING
from pipeline.models.scoring.exact import UNSEEN
from pipeline.models.scoring.trees import MOST_LEAVES, MOST_THRESHOLDS, NODE, WIDTH
from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, LOGISTIC_REGRESSION, rounded_down

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Arrays = dict[str, NDArray[Any]]


def to_arrays(pipeline: "Pipeline", features: list[Feature], family: str) -> bytes | None:
    """Return the content of `scorer.npz` for a family's calibrated pipeline; None if the exact engine cannot score it.

    That is a team's own pipeline, or one of ours with larger trees or more quantiles than the engine takes.
    """
    make = {HIST_GRADIENT_BOOSTING: _trees, LOGISTIC_REGRESSION: _linear}.get(family)
    arrays = make(pipeline, features) if make else None
    if arrays is None:
        return None
    encoded = _categories(pipeline)
    known = {feature.name: [*feature.categories, MISSING] for feature in features if feature.name in encoded}
    if any(set(encoded[name]) - set(texts) for name, texts in known.items()):
        return None  # bundle.json would not name a category that the encoder knows
    codes = {name: {text: code for code, text in enumerate(texts)} for name, texts in encoded.items()}
    in_order = [codes[name].get(text, UNSEEN) for name, texts in known.items() for text in texts]
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, codes=np.array(in_order, np.int32), **arrays)
    return content.getvalue()


def _columns(pipeline: "Pipeline", transformer: str) -> list[str]:
    """Return the names of the features that a transformer takes, in order."""
    return [name for kind, _, names in pipeline["features"].transformers for name in names if kind == transformer]


def _categories(pipeline: "Pipeline") -> dict[str, list[str]]:
    """Return the texts that the encoder knows, in the order of their codes, by feature."""
    encoder = pipeline["features"].named_transformers_.get("categories")
    return dict(zip(_columns(pipeline, "categories"), getattr(encoder, "categories_", []), strict=True))


def _calibration(pipeline: "Pipeline", baseline: float) -> NDArray[np.float64]:
    calibrator = pipeline[-1].calibrated_classifiers_[0].calibrators[0]
    return np.array([baseline, calibrator.a_, calibrator.b_], np.float64)


def _trees(pipeline: "Pipeline", features: list[Feature]) -> Arrays | None:
    """Return the arrays of `pipeline.models.scoring.trees.Trees`; None for trees that it does not take."""
    classifier, names = pipeline[-1].calibrated_classifiers_[0].estimator, [feature.name for feature in features]
    outputs = [names.index(name) for kind in ("numbers", "categories") for name in _columns(pipeline, kind)]
    feature_of = np.array(outputs, np.int32)[pipeline["varied"].get_support()]
    trees = [tree.nodes for (tree,) in classifier._predictors]  # noqa: SLF001 - there is no public way to a tree
    first = np.cumsum([0, *map(len, trees)], dtype=np.int32)
    theirs = np.concatenate(trees)
    start, at = np.repeat(first[:-1], np.diff(first)), np.arange(len(theirs))
    is_inner = theirs["is_leaf"] == 0
    if (
        np.any(theirs["is_categorical"][is_inner])
        or np.any(theirs["left"][is_inner] + start[is_inner] != at[is_inner] + 1)
        or any(np.count_nonzero(tree["is_leaf"]) > MOST_LEAVES for tree in trees)
    ):
        return None
    nodes = np.zeros(len(theirs), NODE)
    nodes["value"], nodes["feature"] = theirs["value"], -1
    nodes["feature"][is_inner] = feature_of[theirs["feature_idx"][is_inner]]
    nodes["threshold"][is_inner] = rounded_down(theirs["num_threshold"][is_inner])
    nodes["right"][is_inner] = (theirs["right"] + start)[is_inner]
    nodes["is_missing_left"][is_inner] = theirs["missing_go_to_left"][is_inner]
    baseline = classifier._baseline_prediction.item()  # noqa: SLF001
    return {"nodes": nodes, "first_node": first, "calibration": _calibration(pipeline, baseline)}


def _linear(pipeline: "Pipeline", features: list[Feature]) -> Arrays | None:
    """Return the arrays of `pipeline.models.scoring.linear.Linear`; None for more quantiles than it takes."""
    classifier, names = pipeline[-1].calibrated_classifiers_[0].estimator, [feature.name for feature in features]
    transformers, support = pipeline["features"].named_transformers_, pipeline["varied"].get_support()
    weights = np.zeros(len(support))
    weights[support] = classifier.coef_[0]
    arrays: Arrays = {
        "thresholds": np.full((len(names), WIDTH), np.inf, np.float32),
        "pieces": np.zeros((len(names), WIDTH, 3)),
        "medians": np.zeros(len(names), np.float32),
        "coefficients": np.zeros(len(names)),
        "calibration": _calibration(pipeline, classifier.intercept_.item()),
    }
    numbers, tables = _columns(pipeline, "numbers"), {}
    for column, at in enumerate(map(names.index, numbers)):
        impute, rank = transformers["numbers"]["impute"], transformers["numbers"]["rank"]
        thresholds, pieces = _pieces(rank.quantiles_[:, column], rank.references_)
        if len(thresholds) > MOST_THRESHOLDS:
            return None
        arrays["thresholds"][at, : len(thresholds)], arrays["pieces"][at, : len(pieces)] = thresholds, pieces
        arrays["medians"][at], arrays["coefficients"][at] = impute.statistics_[column], weights[column]
    left = iter(weights[len(numbers) :])
    for name, texts in _categories(pipeline).items():
        tables[name] = [0.0, *(next(left) for _ in texts)]
    in_order = [weight for name in names for weight in tables.get(name, [])]
    return {**arrays, "category_coefficients": np.array(in_order, np.float64)}


def _pieces(quantiles: NDArray[np.float64], references: NDArray[np.float64]) -> tuple[NDArray[np.float32], list[Any]]:
    """Return a rank's thresholds, and its base, slope and origin by the count of thresholds below a number.

    Each distinct quantile has two thresholds: numbers on it are above the first, and those beyond it above both. On a
    quantile that occurs several times, scikit-learn takes the mean of the ranks of its first and last occurrence.
    """
    values, first = np.unique(quantiles, return_index=True)
    last = np.append(first[1:], len(quantiles)) - 1
    beyond = rounded_down(values)
    with np.errstate(over="ignore"):  # below the lowest float32 is minus infinity
        on = np.where(beyond == values, np.nextafter(beyond, np.float32(-np.inf)), beyond)
    slopes = (references[first[1:]] - references[last[:-1]]) / np.diff(values)
    means = (references[last] + references[first]) / 2
    means[-1], means[0] = 1, 0
    pieces = [(references[0], 0, 0)]
    for mean, start, slope, origin in zip(means, references[last], [*slopes, 0], values, strict=True):
        pieces += [(mean, 0, 0), (start, slope, origin if slope else 0)]
    return np.stack([on, beyond], axis=1).ravel(), pieces
