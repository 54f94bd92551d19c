"""How well each feature alone foretells the answer: one that does it all but perfectly has seen it.

For the gate's check against leaks. Each test row is predicted by the share of satisfied train rows whose value is the
same (a category) or nearly so (a number), so that any shape of a relation shows, absence included. Entry points:
`feature_auc` and `suspects`.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.models.bundle import Feature
from pipeline.models.evaluation_metrics import roc_auc
from pipeline.models.scorer import inputs
from pipeline.training.training_set import answers

NUMBER_BINS = 50
"""Of equal mass in the train rows."""


def feature_auc(train: pa.Table, test: pa.Table, features: list[Feature]) -> dict[str, float]:
    """Return, by feature, the ROC AUC on the test rows of predicting from that feature alone."""
    learnt, asked = answers(train).to_numpy(), answers(test).to_numpy()
    found = {}
    for feature in features:
        seen, new = _coded(train, test, feature)
        bins = max(seen.max(), new.max()) + 1
        rows, satisfied = (np.bincount(seen, weights, minlength=bins) for weights in (None, learnt))
        shares = (satisfied + learnt.mean()) / (rows + 1)  # a bin without train rows has the base rate
        found[feature.name] = roc_auc(asked, shares[new])
    return found


def suspects(limit: float, version: float, features: dict[str, float]) -> list[str]:
    """Return, in words, what has a ROC AUC that nothing honest has: the version, or a feature alone."""
    found = {"the version": version, **{f"the feature {name} alone": auc for name, auc in features.items()}}
    return [f"{who} has a ROC AUC of {auc:.4f}" for who, auc in found.items() if auc > limit]


def _coded(train: pa.Table, test: pa.Table, feature: Feature) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the bins of both tables' rows; absence is a bin of its own."""
    seen, new = (inputs(rows, [feature])[feature.name][:, 0] for rows in (train, test))
    if feature.kind == "category":
        codes = pa.array(np.concatenate([seen, new])).dictionary_encode().indices.to_numpy()
        return codes[: len(seen)], codes[len(seen) :]
    edges = np.unique(np.quantile(seen[~np.isnan(seen)], np.linspace(0, 1, NUMBER_BINS + 1)))
    known = np.r_[edges, np.inf]  # which only an absent number, as NaN, lies beyond
    return np.searchsorted(known, seen), np.searchsorted(known, new)
