"""What each feature does for ROC AUC: alone, for the check against leaks, and within a version, for the report.

A feature that predicts the answer almost perfectly has probably been computed from it. Each test row is predicted by
the satisfied fraction of the train rows with the same category, or with a number in the same bin; so relations of any
shape show, and absence counts as a value. Entry points: `feature_auc` and `find_suspects`; `importance`.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.models.bundle import Feature
from pipeline.models.evaluation_metrics import roc_auc
from pipeline.models.scoring.columns import as_in_training, inputs
from pipeline.models.scoring.scorer import Scorer
from pipeline.training.evaluation.measures import score_rows
from pipeline.training.training_set import answers

NUMBER_BINS = 50
"""Bins of equal mass in the train rows."""
MOST_ROWS = 20_000
MOST_VALUES = 400_000
"""Rows times features: with more features fewer rows are used, so that it takes a matter of seconds."""
REPEATS = 3


def feature_auc(train: pa.Table, test: pa.Table, features: list[Feature]) -> dict[str, float]:
    """Return the ROC AUC of each feature alone on the test rows."""
    learnt, asked = answers(train).to_numpy(), answers(test).to_numpy()
    found = {}
    for feature in features:
        seen, new = _coded(train, test, feature)
        bins = max(seen.max(), new.max()) + 1
        rows, satisfied = (np.bincount(seen, weights, minlength=bins) for weights in (None, learnt))
        shares = (satisfied + learnt.mean()) / (rows + 1)  # a bin without train rows has the base rate
        found[feature.name] = roc_auc(asked, shares[new])
    return found


def find_suspects(limit: float, version: float, features: dict[str, float]) -> list[str]:
    """Return, in words, whether the version or a feature alone has a ROC AUC above `limit`."""
    found = {"the version": version, **{f"the feature {name} alone": auc for name, auc in features.items()}}
    return [f"{who} has a ROC AUC of {auc:.4f}" for who, auc in found.items() if auc > limit]


def _coded(train: pa.Table, test: pa.Table, feature: Feature) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the bins of both tables' rows; absence is a bin of its own."""
    seen, new = (as_in_training(inputs(rows, [feature])[feature.name], feature) for rows in (train, test))
    if feature.kind == "category":
        codes = pa.array(np.concatenate([seen, new])).dictionary_encode().indices.to_numpy()
        return codes[: len(seen)], codes[len(seen) :]
    edges = np.unique(np.quantile(seen[~np.isnan(seen)], np.linspace(0, 1, NUMBER_BINS + 1)))
    known = np.r_[edges, np.inf]  # only NaN, an absent number, is sorted beyond infinity
    return np.searchsorted(known, seen), np.searchsorted(known, new)


def importance(scorer: Scorer, rows: pa.Table, seed: int) -> dict[str, float]:
    """Return by how much ROC AUC falls, by feature; the mean of a few shuffles of a sample of the test `rows`."""
    random = np.random.default_rng(seed)
    size = min(rows.num_rows, MOST_ROWS, max(1, MOST_VALUES // len(scorer.features)))
    drawn = rows.take(np.sort(random.choice(rows.num_rows, size, replace=False)))
    labels = answers(drawn).to_numpy()
    undisturbed = roc_auc(labels, score_rows(scorer, drawn))
    falls = {}
    for feature in scorer.features:
        at, column = drawn.column_names.index(feature.name), drawn.column(feature.name)
        shuffled = [drawn.set_column(at, feature.name, column.take(random.permutation(size))) for _ in range(REPEATS)]
        falls[feature.name] = undisturbed - float(np.mean([roc_auc(labels, score_rows(scorer, t)) for t in shuffled]))
    return falls
