"""A summary of a sample and of how predictable it is, counted while the sample is written.

The entry points are `Tally`, which counts every week, and `SampleSummary`, its result.
"""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from examples.sample.company import Bools, Floats
from examples.sample.events import LivedWeek
from pipeline.weeks import Week

_PROBABILITY_BINS = 100_000
_LOGISTIC_ROWS = 60_000
"""Number of answers that are kept to fit a logistic regression; the others are only counted."""
_TEST_FRACTION = 0.25
CATEGORY_FEATURES = ("product_category", "plan", "region", "carrier", "latest_topic")


@dataclass(frozen=True)
class SampleSummary:
    """The content of a sample."""

    folder: Path
    customers: int
    first_week: Week
    last_week: Week
    subjects: int
    """Active at the end of the last week."""
    answers: int
    """Drawn for the weeks of the feed; the last of them arrive after its end."""
    satisfied_fraction: float
    best_auc: float
    """AUC of the true probability against the answers: no model can do better."""
    logistic_auc: float | None
    """The same for a logistic regression on the plain features, in the last quarter of the weeks; None if too few."""
    rows: dict[str, int]
    """Records by file."""

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        logistic = "too few answers to fit one" if self.logistic_auc is None else f"{self.logistic_auc:.3f}"
        sources = groupby(sorted(self.rows.items()), key=lambda item: item[0].split("/")[0])
        return [
            f"sample company in {self.folder}: weeks {self.first_week} to {self.last_week}",
            f"customers {self.customers:,}, subjects active in the last week {self.subjects:,}",
            *(_source_line(name, [count for _, count in files]) for name, files in sources),
            f"answers {self.answers:,}, of them satisfied {self.satisfied_fraction:.1%}",
            f"best reachable AUC {self.best_auc:.3f}; logistic regression on the plain features: {logistic}",
        ]


def _source_line(name: str, counts: list[int]) -> str:
    return f"  {name}: {sum(counts):,} rows" + (f" in {len(counts)} weekly files" if len(counts) > 1 else "")


class Tally:
    """Counts of a sample of some weeks, in bounded memory."""

    def __init__(self, weeks: int) -> None:
        self._weeks = weeks
        self._subjects = 0
        self._satisfied = np.zeros(_PROBABILITY_BINS + 1, np.int64)
        self._unsatisfied = np.zeros(_PROBABILITY_BINS + 1, np.int64)
        self._kept: list[tuple[Floats, Bools, Floats]] = []
        self._kept_rows = 0

    def add(self, lived: LivedWeek) -> None:
        """Count a week of a chunk."""
        if lived.week < 0:
            return
        self._subjects += lived.active.size if lived.week == self._weeks - 1 else 0
        answered = np.searchsorted(lived.active, lived.answers.row)
        is_satisfied = lived.answers.answer >= 4
        bins = np.round(lived.probability[answered] * _PROBABILITY_BINS).astype(np.int64)
        self._satisfied += np.bincount(bins[is_satisfied], minlength=_PROBABILITY_BINS + 1)
        self._unsatisfied += np.bincount(bins[~is_satisfied], minlength=_PROBABILITY_BINS + 1)
        if self._kept_rows < _LOGISTIC_ROWS:
            rows = np.column_stack([values[answered] for values in lived.features.values()])
            self._kept.append((rows, is_satisfied, np.full(answered.size, float(lived.week))))
            self._kept_rows += answered.size
            self._names = list(lived.features)

    def summary(self, folder: Path, *, customers: int, first: Week, rows: dict[str, int]) -> SampleSummary:
        """Return the summary of the counted weeks."""
        satisfied, answers = int(self._satisfied.sum()), int((self._satisfied + self._unsatisfied).sum())
        return SampleSummary(
            folder=folder,
            customers=customers,
            first_week=first,
            last_week=first.plus(self._weeks - 1),
            subjects=self._subjects,
            answers=answers,
            satisfied_fraction=satisfied / max(answers, 1),
            best_auc=_auc(self._satisfied, self._unsatisfied),
            logistic_auc=self._logistic_auc(),
            rows=rows,
        )

    def _logistic_auc(self) -> float | None:
        rows, is_satisfied, week = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        is_test = week >= self._weeks * (1 - _TEST_FRACTION)
        if min(np.bincount(is_satisfied[is_test], minlength=2)) < 50 or is_test.all():
            return None
        return logistic_auc(rows, is_satisfied, is_test, self._names)


def _auc(satisfied: np.ndarray, unsatisfied: np.ndarray) -> float:
    """Return the area under the ROC curve from counts by bin of the score, ties counted half."""
    below = np.cumsum(unsatisfied) - unsatisfied
    pairs = float(satisfied.sum()) * float(unsatisfied.sum())
    return float((satisfied * (below + 0.5 * unsatisfied)).sum() / pairs) if pairs else float("nan")


def logistic_auc(rows: Floats, is_satisfied: Bools, is_test: Bools, names: list[str]) -> float:
    """Return the AUC on the test rows of a logistic regression that was fitted to the others.

    `rows` has the features called `names`, shape (answers, features), with categories as indices and NaN for NULL;
    `is_satisfied` and `is_test` have the shape (answers,).
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = [index for index, name in enumerate(names) if name in CATEGORY_FEATURES]
    numbers = [index for index in range(len(names)) if index not in categories]
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore"), categories),
        ),
        LogisticRegression(max_iter=1_000),
    )
    model.fit(rows[~is_test], is_satisfied[~is_test])
    return float(roc_auc_score(is_satisfied[is_test], model.predict_proba(rows[is_test])[:, 1]))
