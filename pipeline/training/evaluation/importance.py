"""Importance: how much a version's ranking of the test rows suffers when a feature's values are shuffled among them.

For the training report. The entry point is `importance`.
"""

import numpy as np
import pyarrow as pa

from pipeline.models.evaluation_metrics import metrics
from pipeline.models.scorer import Scorer
from pipeline.training.training_set import answers

MOST_ROWS = 20_000
MOST_VALUES = 400_000
"""Rows times features: the more features, the fewer rows, so that it stays a matter of seconds."""
REPEATS = 3


def importance(scorer: Scorer, rows: pa.Table, seed: int) -> dict[str, float]:
    """Return by how much ROC AUC falls, by feature; the mean of a few shuffles.

    Parameters
    ----------
    scorer
        The version.
    rows
        Of the test weeks, with their label; a part of them is drawn when they are many.
    seed
        Makes it repeatable.
    """
    random = np.random.default_rng(seed)
    size = min(rows.num_rows, MOST_ROWS, max(1, MOST_VALUES // len(scorer.features)))
    drawn = rows.take(np.sort(random.choice(rows.num_rows, size, replace=False)))
    undisturbed = _roc_auc(scorer, drawn)
    falls = {}
    for feature in scorer.features:
        at, column = drawn.column_names.index(feature.name), drawn.column(feature.name)
        shuffled = [drawn.set_column(at, feature.name, column.take(random.permutation(size))) for _ in range(REPEATS)]
        falls[feature.name] = undisturbed - float(np.mean([_roc_auc(scorer, table) for table in shuffled]))
    return falls


def _roc_auc(scorer: Scorer, rows: pa.Table) -> float:
    batch = rows.combine_chunks().to_batches()[0]
    return metrics(answers(rows).to_numpy(), scorer.score(batch).column("satisfaction").to_numpy())["roc_auc"]
