"""Tune, the third stage of a training: search for the family and its hyperparameters, on the train weeks alone.

Every fold trains on the first weeks and validates on those after them, never the other way and never at random. Each
family has its own search, since what wins on few rows need not win on all, and an equal share of the time that is left.
The score is the ROC AUC, which the calibration to come cannot change. The entry point is `tune`.
"""

import logging
import time
from itertools import accumulate
from math import ceil

import numpy as np
import pyarrow as pa

from pipeline.files import write_text
from pipeline.handoffs import TrainingPlan, TrainingSet, Tuned
from pipeline.manifests import TrainingSetManifest, TrainingWeek
from pipeline.settings import Settings
from pipeline.training.pipelines.families import LOGISTIC_REGRESSION, SPACES, estimator
from pipeline.training.pipelines.own_pipeline import own_parameters
from pipeline.training.search.trials import TRIALS_FILE, Parameters, Trial, Trials
from pipeline.training.training_set import FEWEST_OF_A_CLASS, answers, features_of, frame, read_weeks, segments, split

OWN = "own"
"""The family of a pipeline that a team brought."""
RUNG_ANSWERS = 50
"""Rows of each answer that a fold should have on the first rung: with fewer, chance decides who comes on."""

logger = logging.getLogger(__name__)


def tune(settings: Settings, plan: TrainingPlan, training_set: TrainingSet) -> Tuned:
    """Choose the family and its parameters; for a team's own pipeline there is nothing to choose.

    Raises
    ------
    ConfigError
        If the search space holds what a classifier does not take.
    ModelError
        If the labels are too few.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    weeks = split(settings, manifest).train
    segments(settings, manifest)  # wrong ones are refused before the long work
    if plan.pipeline:
        return _chosen(plan, OWN, own_parameters(plan.pipeline), Trials(trials=[], left_out=[], seconds=0))
    places = folds(weeks, settings.tuning.folds)
    if not places:
        left_out = (
            f"all candidates: the train weeks have too few answers to validate on weeks of their own ({len(weeks)})"
        )
        return _chosen(plan, LOGISTIC_REGRESSION, {}, Trials(trials=[], left_out=[left_out], seconds=0))
    rows = read_weeks(training_set.manifest.parent, weeks)
    best, trials = _searched(settings, manifest, rows, weeks, places)
    return _chosen(plan, best.family, best.parameters, trials)


def folds(weeks: list[TrainingWeek], number: int) -> list[tuple[slice, slice]]:
    """Return, for each fold, the weeks to train on and the ones after them to validate on.

    The last fold validates on the last weeks; folds that lack an answer on either side are left out.

    Examples
    --------
    >>> weeks = [TrainingWeek(week="", file="", rows=90, satisfied=40, digest="") for _ in range(7)]
    >>> folds(weeks, 2)
    [(slice(0, 3, None), slice(3, 5, None)), (slice(0, 5, None), slice(5, 7, None))]
    """
    number = min(number, len(weeks) - 1)
    size = len(weeks) // (number + 1)
    starts = [len(weeks) - size * back for back in range(number, 0, -1)]
    places = [(slice(0, start), slice(start, start + size)) for start in starts]
    return [place for place in places if min(_rarest(weeks[part]) for part in place) >= FEWEST_OF_A_CLASS]


def _rarest(weeks: list[TrainingWeek]) -> int:
    satisfied = sum(week.satisfied for week in weeks)
    return min(satisfied, sum(week.rows for week in weeks) - satisfied)


def _searched(
    settings: Settings,
    manifest: TrainingSetManifest,
    table: pa.Table,
    weeks: list[TrainingWeek],
    places: list[tuple[slice, slice]],
) -> tuple[Trial, Trials]:
    """Search each family; return the best trial and all of them."""
    from pipeline.training.search.halving import search

    features = features_of(manifest, table)
    rows, labels = frame(table, features), answers(table)
    ends = [0, *accumulate(week.rows for week in weeks)]
    by_row = [(np.arange(ends[past.stop]), np.arange(ends[later.start], ends[later.stop])) for past, later in places]
    rarest = min(_rarest(weeks[part]) for place in places for part in place)
    fewest_rows = min(len(rows), ceil(len(rows) * RUNG_ANSWERS / rarest))
    spaces = {family: space or SPACES[family] for family, space in (settings.tuning.space or SPACES).items()}
    candidates = max(1, settings.tuning.candidates // len(spaces))
    started = time.monotonic()
    end = started + settings.tuning.minutes * 60
    found = []
    for left, family in zip(range(len(spaces), 0, -1), spaces, strict=True):
        found.append(
            search(
                family,
                estimator(features, family, {}, settings.model.seed),
                space=spaces[family],
                rows=rows,
                labels=labels,
                folds=by_row,
                candidates=candidates,
                fewest_rows=fewest_rows,
                seed=settings.model.seed,
                deadline=time.monotonic() + (end - time.monotonic()) / left,
            )
        )
    left_out = [
        f"{one.left_out} of {one.asked[-1]} candidates of {one.family} on rung {len(one.asked)}: the"
        f" {settings.tuning.minutes:g} minutes of [tuning] were used up"
        for one in found
        if one.left_out
    ]
    trials = [trial for one in found for trial in one.trials]
    best = max((one.best for one in found), key=lambda trial: trial.score)
    return best, Trials(trials=trials, left_out=left_out, seconds=time.monotonic() - started)


def _chosen(plan: TrainingPlan, family: str, parameters: Parameters, trials: Trials) -> Tuned:
    logger.info("chosen: %s with %s", family, parameters)
    for sentence in trials.left_out:
        logger.warning("left out: %s", sentence)
    path = plan.folder / TRIALS_FILE
    write_text(path, trials.model_dump_json(indent=1))
    return Tuned(family=family, parameters=parameters, trials=path, left_out=trials.left_out, seconds=trials.seconds)
