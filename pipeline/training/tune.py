"""Tune, the third stage of a training: search for the family and its hyperparameters, on the train weeks alone.

Each fold trains on the first weeks and validates on the weeks after them, never at random. Each family is searched by
itself, because the family that wins on few rows need not win on all; it gets an equal share of the time that is left.
The score is ROC AUC, which calibration does not change. The entry point is `tune`.
"""

import logging
import time
from itertools import accumulate
from math import ceil

import numpy as np
import pyarrow as pa

from pipeline.files import write_text
from pipeline.manifests import TrainingSetManifest, TrainingWeek
from pipeline.settings import Settings
from pipeline.training.handoffs import TRIALS_FILE, Parameters, TrainingPlan, TrainingSet, Trial, Trials, Tuned
from pipeline.training.pipelines.families import LOGISTIC_REGRESSION, SPACES, estimator
from pipeline.training.pipelines.own_pipeline import describe_pipeline
from pipeline.training.training_set import (
    FEWEST_OF_A_CLASS,
    answer_rows,
    answers,
    features_of,
    frame,
    read_weeks,
    segments,
    split,
)

OWN = "own"
"""The family of a pipeline that a team brought."""
RUNG_ANSWERS = 50
"""Rows of each answer that a fold should have on the first rung; with fewer, chance decides which candidates stay."""

logger = logging.getLogger(__name__)


def tune(settings: Settings, plan: TrainingPlan, training_set: TrainingSet) -> Tuned:
    """Choose the family and its parameters; a team's own pipeline is taken as it is.

    Raises
    ------
    ConfigError
        If the search space holds what a classifier does not take.
    ModelError
        If the labels are too few.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    weeks = split(settings, manifest).train
    segments(settings, manifest)  # refuses wrong segments before the long work
    if plan.pipeline:
        return _write_choice(plan, OWN, describe_pipeline(plan.pipeline), Trials(trials=[], left_out=[], seconds=0))
    places = folds(weeks, settings.tuning.folds)
    if not places:
        left_out = f"all candidates: the {len(weeks)} train weeks have too few answers to validate on later weeks"
        return _write_choice(plan, LOGISTIC_REGRESSION, {}, Trials(trials=[], left_out=[left_out], seconds=0))
    rows = read_weeks(training_set.manifest.parent, weeks)
    best, trials = _search_families(settings, manifest, rows, weeks, places)
    return _write_choice(plan, best.family, best.parameters, trials)


def folds(weeks: list[TrainingWeek], number: int) -> list[tuple[slice, slice]]:
    """Return the weeks that each fold trains on, and the weeks after them that it validates on.

    The last fold validates on the last weeks. Folds with too few rows of an answer on either side
    are left out.

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
    return [place for place in places if _fewest_answers(weeks, place) >= FEWEST_OF_A_CLASS]


def fold_rows(weeks: list[TrainingWeek], places: list[tuple[slice, slice]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the positions of each fold's rows to train on and to validate on, in the rows of `weeks`."""
    ends = [0, *accumulate(week.rows for week in weeks)]
    return [(np.arange(ends[past.stop]), np.arange(ends[later.start], ends[later.stop])) for past, later in places]


def _fewest_answers(weeks: list[TrainingWeek], place: tuple[slice, slice]) -> int:
    return min(rows for part in place for rows in answer_rows(weeks[part]))


def _search_families(
    settings: Settings,
    manifest: TrainingSetManifest,
    table: pa.Table,
    weeks: list[TrainingWeek],
    places: list[tuple[slice, slice]],
) -> tuple[Trial, Trials]:
    """Search each family; return the best trial and all of them."""
    from pipeline.training.halving import search

    tuning, seed = settings.tuning, settings.model.seed
    features = features_of(manifest, table)
    rows, labels = frame(table, features), answers(table)
    fewest_rows = ceil(len(rows) * RUNG_ANSWERS / min(_fewest_answers(weeks, place) for place in places))
    spaces = {family: space or SPACES[family] for family, space in (tuning.space or SPACES).items()}
    started = time.monotonic()
    end = started + tuning.minutes * 60
    found = [
        search(
            family,
            estimator(features, family, {}, seed),
            space=space,
            rows=rows,
            labels=labels,
            folds=fold_rows(weeks, places),
            candidates=max(1, tuning.candidates // len(spaces)),
            fewest_rows=min(len(rows), fewest_rows),
            seed=seed,
            deadline=time.monotonic() + (end - time.monotonic()) / (len(spaces) - number),
        )
        for number, (family, space) in enumerate(spaces.items())
    ]
    left_out = [
        f"{one.left_out} of {one.asked[-1]} candidates of {one.family} on rung {len(one.asked)}: the"
        f" {tuning.minutes:g} minutes of [tuning] were used up"
        for one in found
        if one.left_out
    ]
    trials = [trial for one in found for trial in one.trials]
    best = max((one.best for one in found), key=lambda trial: trial.score)
    return best, Trials(trials=trials, left_out=left_out, seconds=time.monotonic() - started)


def _write_choice(plan: TrainingPlan, family: str, parameters: Parameters, trials: Trials) -> Tuned:
    logger.info("chosen: %s with %s", family, parameters)
    for sentence in trials.left_out:
        logger.warning("left out: %s", sentence)
    path = plan.folder / TRIALS_FILE
    write_text(path, trials.model_dump_json(indent=1))
    return Tuned(family=family, parameters=parameters, trials=path, left_out=trials.left_out, seconds=trials.seconds)
