"""Permutation importance: how much a version's ROC AUC falls when a feature's values are shuffled among the test rows.

For the training report. The entry point is `importance`.
"""

import numpy as np
import pyarrow as pa

from pipeline.models.evaluation_metrics import roc_auc
from pipeline.models.scorer import Scorer
from pipeline.training.evaluation.measures import score_rows
from pipeline.training.training_set import answers

MOST_ROWS = 20_000
MOST_VALUES = 400_000
"""Rows times features: with more features fewer rows are used, so that it takes a matter of
seconds."""
REPEATS = 3


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
