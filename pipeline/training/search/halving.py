"""Search: scikit-learn's successive halving over one family, one candidate after the other, within a deadline.

Successive halving fits all candidates on few rows, and only the better third on three times as many, until they are
all rows. This is scikit-learn's own; what is added is that it can be watched, and stopped between two candidates.
The entry point is `search`. Imported only where a search runs: it imports scikit-learn.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor, log
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - allows the next import
from sklearn.model_selection import HalvingRandomSearchCV

from pipeline.errors import ConfigError
from pipeline.settings.model import Space, Span
from pipeline.training.pipelines.families import threads_for
from pipeline.training.search.trials import Trial

FACTOR = 3
"""One candidate in three comes to the next rung, which has three times the rows."""
CLASSIFIER = "classifier__"

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows to train on, and later ones to validate on."""
logger = logging.getLogger(__name__)


@dataclass
class Watched:
    """A search as it goes on."""

    family: str
    deadline: float
    """By `time.monotonic`: what would not be done by then is not begun."""
    trials: list[Trial] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Of each rung that was begun, the number of candidates."""

    def has_time_for(self, rows: int) -> bool:
        """Return whether a candidate on so many rows would be done in time, going by the slowest on the last rung."""
        if not self.trials:
            return True  # something must be tried
        last = [trial for trial in self.trials if trial.rows == self.trials[-1].rows]
        expected = max(trial.seconds for trial in last) * max(1.0, rows / last[0].rows)
        return time.monotonic() + expected <= self.deadline

    @property
    def best(self) -> Trial:
        """The best trial of the last rung that was finished, or of the first one as far as it came."""
        finished = [rung for rung, asked in enumerate(self.asked) if len(self._of(rung)) == asked]
        return max(self._of(max(finished, default=0)), key=lambda trial: trial.score)

    @property
    def left_out(self) -> int:
        """How many candidates of the last rung were not tried."""
        return self.asked[-1] - len(self._of(len(self.asked) - 1))

    def _of(self, rung: int) -> list[Trial]:
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
) -> Watched:
    """Search `space` and return what was tried.

    Parameters
    ----------
    family
        Its name, for messages.
    pipeline
        Not fitted; its step `classifier` takes the parameters.
    space
        By parameter, what to draw from.
    rows, labels
        Of the train weeks.
    folds
        By position in `rows`.
    candidates
        How many are drawn.
    fewest_rows
        That the first rung needs.
    seed
        Decides which candidates and, below the last rung, which rows are drawn.
    deadline
        See `Watched`.

    Raises
    ------
    ConfigError
        If a parameter is none of the classifier's, or a value none it takes.
    """
    _check_names(family, pipeline, space)
    halving = _Halving(
        pipeline,
        {CLASSIFIER + name: _Drawn(values) if isinstance(values, Span) else values for name, values in space.items()},
        n_candidates=candidates,
        factor=FACTOR,
        min_resources=max(fewest_rows, len(rows) // FACTOR ** floor(log(candidates, FACTOR))),
        cv=list(folds),
        scoring="roc_auc",
        refit=False,
        return_train_score=False,
        error_score="raise",
        random_state=seed,
    )
    halving.watched = Watched(family, deadline)
    try:
        halving.fit(rows, labels)
    except _OutOfTimeError:
        logger.info("%s: out of time, %d candidates were left out", family, halving.watched.left_out)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"A candidate of {family} cannot be fitted: {type(error).__name__}: {error}.",
            "values that the classifier takes.",
            f"look at [tuning.space.{family}] in pipeline.toml.",
        ) from error
    return halving.watched


def _check_names(family: str, pipeline: BaseEstimator, space: Space) -> None:
    # Early stopping holds out rows at random, across weeks; native categories convert to ONNX wrongly.
    ours = {"random_state", "early_stopping", "categorical_features"}
    known = {name.removeprefix(CLASSIFIER) for name in pipeline.get_params() if name.startswith(CLASSIFIER)} - ours
    if not space.keys() <= known:
        raise ConfigError(
            f"[tuning.space.{family}] names {', '.join(sorted(space.keys() - known))}.",
            f"parameters of its classifier: {', '.join(sorted(known))}.",
            "correct the names.",
        )


class _OutOfTimeError(Exception):
    """The next candidate would not be done by the deadline."""


class _Halving(HalvingRandomSearchCV):  # type: ignore[misc] # scikit-learn has no types
    """The search with each candidate evaluated by a call of its own; scikit-learn's hook for one's own schedule."""

    watched: Watched

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]], *, callback_ctx: Any) -> None:
        def one_by_one(
            candidates: Sequence[dict[str, Any]],
            cv: Any,
            more_results: dict[str, list[int]],
            callback_ctx: Any,  # noqa: ARG001 - contexts are made for a whole rung
        ) -> dict[str, Any]:
            self.watched.asked.append(len(candidates))
            results: dict[str, Any] = {}
            for number, parameters in enumerate(candidates):
                its_own = {name: [values[number]] for name, values in more_results.items()}
                rows = its_own["n_resources"][0]
                if not self.watched.has_time_for(rows):
                    raise _OutOfTimeError
                started = time.monotonic()
                with threads_for(rows):
                    results = evaluate_candidates([parameters], cv, more_results=its_own)
                self._note(results, time.monotonic() - started)
            return results

        super()._run_search(one_by_one, callback_ctx=callback_ctx)

    def _note(self, results: dict[str, Any], seconds: float) -> None:
        """Keep and tell of the trial that came last."""
        watched = self.watched
        trial = Trial(
            family=watched.family,
            parameters={name.removeprefix(CLASSIFIER): value for name, value in results["params"][-1].items()},
            rung=results["iter"][-1],
            rows=results["n_resources"][-1],
            score=results["mean_test_score"][-1],
            scores=[results[f"split{number}_test_score"][-1] for number in range(self.n_splits_)],
            seconds=seconds,
        )
        watched.trials.append(trial)
        logger.info(
            "%s: candidate %d of %d on %s rows: ROC AUC %.4f in %.1f s, %.0f s left",
            watched.family,
            sum(other.rung == trial.rung for other in watched.trials),
            watched.asked[-1],
            f"{trial.rows:,}",
            trial.score,
            trial.seconds,
            max(0.0, watched.deadline - time.monotonic()),
        )


@dataclass(frozen=True)
class _Drawn:
    """A span as scikit-learn draws from it."""

    span: Span

    def rvs(self, random_state: np.random.RandomState) -> float | int:
        """Draw a number."""
        span = self.span
        ends = (np.log(span.low), np.log(span.high)) if span.log else (span.low, span.high)
        drawn = random_state.uniform(*ends)
        number = float(np.exp(drawn)) if span.log else float(drawn)
        return round(number) if span.integer else number
