"""Successive halving over one family, candidate by candidate, within a deadline.

All candidates are tried on few rows, the best third of them on three times as many, and so on up to all rows. The
candidates and the rows of each rung are those of scikit-learn's `HalvingRandomSearchCV` with the same seed; going
candidate by candidate adds progress messages and the deadline. The entry point is `search`. Import this module only
where a search runs, because it imports scikit-learn.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterSampler, cross_validate
from sklearn.utils import resample

from pipeline.errors import ConfigError
from pipeline.settings.model import Space
from pipeline.training.handoffs import Trial
from pipeline.training.pipelines.families import threads_for

FACTOR = 3
"""One candidate in three reaches the next rung, which has three times the rows."""
CLASSIFIER = "classifier__"

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Positions of the rows to train on, and of later ones to validate on."""
logger = logging.getLogger(__name__)


@dataclass
class FamilySearch:
    """The search of one family: what was tried, and what there is still time for."""

    family: str
    deadline: float
    """On the clock `time.monotonic`. A candidate that would not finish by then is not begun."""
    trials: list[Trial] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """The number of candidates of each rung that was begun."""

    def has_time_for(self, rows: int) -> bool:
        """Return whether a candidate on this many rows would finish in time, judging by the slowest of the last rung.

        The first candidate always has time, because something must be tried.
        """
        if not self.trials:
            return True
        last = [trial for trial in self.trials if trial.rows == self.trials[-1].rows]
        expected = max(trial.seconds for trial in last) * max(1.0, rows / last[0].rows)
        return time.monotonic() + expected <= self.deadline

    @property
    def best(self) -> Trial:
        """The best trial of the last rung that was finished; of the first rung if none was."""
        finished = [rung for rung, asked in enumerate(self.asked) if len(self.on_rung(rung)) == asked]
        return max(self.on_rung(max(finished, default=0)), key=lambda trial: trial.score)

    @property
    def left_out(self) -> int:
        """How many candidates of the last rung were not tried."""
        return self.asked[-1] - len(self.on_rung(len(self.asked) - 1))

    def on_rung(self, rung: int) -> list[Trial]:
        """Return the trials on a rung, in the order they were made."""
        return [trial for trial in self.trials if trial.rung == rung]


def search(
    family: str,
    pipeline: BaseEstimator,
    *,
    space: Space,
    rows: pd.DataFrame,
    labels: "pd.Series[int]",
    folds: Sequence[Fold],
    candidates: int,
    fewest_rows: int,
    seed: int,
    deadline: float,
) -> FamilySearch:
    """Search `space` and return what was tried.

    `pipeline` is not fitted, and its step `classifier` takes the parameters. `rows` and `labels` are of the train
    weeks, and `folds` are positions in them. The first rung has at least `fewest_rows`. `seed` decides which candidates
    are drawn, and which rows below the last rung.
    """
    _check_names(family, pipeline, space)
    found = FamilySearch(family, deadline)
    drawn = list(ParameterSampler(space, candidates, random_state=seed))
    size = max(fewest_rows, len(rows) // FACTOR ** floor(log(candidates, FACTOR)))
    for rung in range(1 + floor(min(log(len(drawn), FACTOR), log(len(rows) // size, FACTOR)))):
        fraction = size / len(rows)
        part = [(_drawn_rows(past, fraction, seed), _drawn_rows(later, fraction, seed)) for past, later in folds]
        found.asked.append(len(drawn))
        for parameters in drawn:
            if not found.has_time_for(size):
                logger.info("%s: out of time, %d candidates were left out", family, found.left_out)
                return found
            started = time.monotonic()
            candidate = clone(pipeline).set_params(**{CLASSIFIER + name: value for name, value in parameters.items()})
            with threads_for(size):
                scores = _scores(family, candidate, rows, labels, part)
            score, seconds = float(np.mean(scores)), time.monotonic() - started
            trial = Trial(
                family=family, parameters=parameters, rung=rung, rows=size, score=score, scores=scores, seconds=seconds
            )
            found.trials.append(trial)
            place = f"candidate {len(found.on_rung(rung))} of {len(drawn)} on {size:,} rows"
            left = max(0.0, deadline - time.monotonic())
            logger.info("%s: %s: ROC AUC %.4f in %.1f s, %.0f s left", family, place, score, seconds, left)
        by_score = sorted(found.on_rung(rung), key=lambda trial: trial.score)
        drawn = [trial.parameters for trial in by_score[-ceil(len(drawn) / FACTOR) :]]
        size *= FACTOR
    return found


def _check_names(family: str, pipeline: BaseEstimator, space: Space) -> None:
    # Early stopping holds out rows at random, across weeks; native categories are converted to ONNX wrongly.
    ours = {"random_state", "early_stopping", "categorical_features"}
    known = {name.removeprefix(CLASSIFIER) for name in pipeline.get_params() if name.startswith(CLASSIFIER)} - ours
    if not space.keys() <= known:
        raise ConfigError(
            f"[tuning.space.{family}] names {', '.join(sorted(space.keys() - known))}.",
            f"parameters of its classifier: {', '.join(sorted(known))}.",
            "correct the names.",
        )


def _drawn_rows(positions: NDArray[np.intp], fraction: float, seed: int) -> NDArray[np.intp]:
    return np.asarray(resample(positions, replace=False, n_samples=int(fraction * len(positions)), random_state=seed))


def _scores(
    family: str, candidate: BaseEstimator, rows: pd.DataFrame, labels: "pd.Series[int]", folds: Sequence[Fold]
) -> list[float]:
    """Return the ROC AUC on each fold."""
    try:
        measured = cross_validate(candidate, rows, labels, cv=folds, scoring="roc_auc", error_score="raise")
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"A candidate of {family} cannot be fitted: {type(error).__name__}: {error}.",
            "values that the classifier takes.",
            f"look at [tuning.space.{family}] in pipeline.toml.",
        ) from error
    return measured["test_score"].tolist()  # type: ignore[no-any-return]
