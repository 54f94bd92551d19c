"""The search: folds forward in time, the same winner every time, and a budget that holds."""

import time
from functools import wraps
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ConfigError
from pipeline.manifests import TrainingSetManifest, TrainingWeek
from pipeline.models.bundle import Feature
from pipeline.settings.model import Span, Tuning
from pipeline.training.halving import CLASSIFIER, FACTOR, FamilySearch, search
from pipeline.training.handoffs import Trial, Trials, Tuned
from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, LOGISTIC_REGRESSION, SPACES, estimator
from pipeline.training.training_set import split
from pipeline.training.tune import folds, tune
from tests.training.conftest import Training

FAST = {
    LOGISTIC_REGRESSION: {"C": Span(low=0.01, high=10, log=True)},
    HIST_GRADIENT_BOOSTING: {"max_iter": Span(low=5, high=30, integer=True), "min_samples_leaf": [10]},
}


def tuned(training: Training, tmp_path: Path, **tuning: object) -> Tuned:
    changed = {"candidates": 8, "folds": 2, "minutes": 5, "space": FAST, **tuning}
    settings = training.settings.model_copy(update={"tuning": Tuning.model_validate(changed)})
    return tune(settings, training.plan.model_copy(update={"folder": tmp_path}), training.training_set)


def trials_of(found: Tuned) -> Trials:
    return Trials.model_validate_json(found.trials.read_text())


def weeks(*answers: tuple[int, int]) -> list[TrainingWeek]:
    return [TrainingWeek(week="", file="", rows=rows, satisfied=satisfied, digest="") for rows, satisfied in answers]


@pytest.mark.parametrize("number_of_weeks", range(2, 14))
@pytest.mark.parametrize("number", [1, 3, 5])
def test_every_fold_validates_on_weeks_after_those_it_learns_from(number_of_weeks: int, number: int) -> None:
    found = folds(weeks(*[(40, 20)] * number_of_weeks), number)
    assert len(found) == min(number, number_of_weeks - 1)
    for past, later in found:
        assert (past.start, past.stop) == (0, later.start), "all weeks before, and none of those it is judged by"
        assert later.stop > later.start > 0
    assert all(one[1].stop == other[1].start for one, other in pairwise(found)), "no week validates twice"
    assert found[-1][1].stop == number_of_weeks


def test_a_fold_without_both_answers_is_left_out() -> None:
    one_sided = weeks((40, 20), (40, 40), (40, 20))
    assert folds(one_sided, 2) == [(slice(0, 2), slice(2, 3))]
    assert folds(weeks((40, 20)), 3) == []


def test_the_search_sees_only_train_weeks_each_fold_forward(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.pipeline import Pipeline

    fitted_on, scored_on = [], []
    monkeypatch.setattr(Pipeline, "fit", _noting(Pipeline.fit, fitted_on))
    monkeypatch.setattr(Pipeline, "decision_function", _noting(Pipeline.decision_function, scored_on))
    tuned(training, tmp_path)
    manifest = TrainingSetManifest.read(training.training_set.manifest)
    train = split(training.settings, manifest).train
    ends = np.cumsum([week.rows for week in train])
    assert len(fitted_on) == len(scored_on) > 10
    for learnt, judged in zip(fitted_on, scored_on, strict=True):
        week_learnt, week_judged = (np.searchsorted(ends, rows, side="right") for rows in (learnt, judged))
        assert week_learnt.max() < week_judged.min()
        assert week_judged.max() < len(train)


def _noting(method, noted):
    @wraps(method)
    def wrapped(self, rows, *arguments, **more):
        noted.append(rows.index.to_numpy())
        return method(self, rows, *arguments, **more)

    return wrapped


def test_few_of_many_candidates_come_to_all_rows(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.tune.RUNG_ANSWERS", 10)
    found = tuned(training, tmp_path)
    trials = trials_of(found).trials
    for family in FAST:
        rungs = [(t.rung, t.rows) for t in trials if t.family == family]
        assert rungs == [(0, 133)] * 4 + [(1, 399)] * 2
    last = [t for t in trials if t.rung == 1]
    best = max(last, key=lambda trial: trial.score)
    assert (found.family, found.parameters) == (best.family, best.parameters)
    assert all(t.score == pytest.approx(np.mean(t.scores)) for t in trials)
    assert found.left_out == []


def test_the_trials_are_those_of_scikit_learns_halving_search() -> None:
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    random = np.random.default_rng(1)
    rows = pd.DataFrame({"amount": random.normal(size=900).astype("float32")})
    labels = pd.Series((rows["amount"] + random.logistic(size=900) > 0).astype("int8"))
    pipeline = estimator([Feature(name="amount", kind="number")], HIST_GRADIENT_BOOSTING, {}, 3)
    space = {"max_iter": Span(low=2, high=9, integer=True), "max_leaf_nodes": [3, 4, 5]}
    folds = [(np.arange(300), np.arange(300, 600)), (np.arange(600), np.arange(600, 900))]
    found = search(
        "f", pipeline, space=space, rows=rows, labels=labels, folds=folds, candidates=9, fewest_rows=100, seed=3,
        deadline=time.monotonic() + 600,
    )  # fmt: skip
    theirs = HalvingRandomSearchCV(
        pipeline, {CLASSIFIER + name: values for name, values in space.items()}, n_candidates=9,
        factor=FACTOR, min_resources=100, cv=folds, scoring="roc_auc", refit=False, random_state=3,
    ).fit(rows, labels).cv_results_  # fmt: skip
    assert [(t.rung, t.rows, t.score) for t in found.trials] == list(
        zip(theirs["iter"], theirs["n_resources"], theirs["mean_test_score"], strict=True)
    )
    assert [{CLASSIFIER + name: value for name, value in t.parameters.items()} for t in found.trials] == theirs[
        "params"
    ]


def test_the_same_data_give_the_same_trials(training: Training, tmp_path: Path) -> None:
    first, second = (trials_of(tuned(training, tmp_path / name)).trials for name in ("a", "b"))
    assert [t.model_copy(update={"seconds": 0}) for t in first] == [t.model_copy(update={"seconds": 0}) for t in second]


def test_out_of_time_each_family_has_still_tried_something(training: Training, tmp_path: Path) -> None:
    found = tuned(training, tmp_path, minutes=0.0001)
    trials = trials_of(found).trials
    assert {t.family for t in trials} == set(FAST)
    assert len(trials) == 2
    assert found.family == max(trials, key=lambda trial: trial.score).family
    assert len(found.left_out) == 2
    assert "3 of 4 candidates of logistic_regression on rung 1: the 0.0001 minutes" in found.left_out[0]


def trial(rung: int, score: float, rows: int = 100, seconds: float = 1) -> Trial:
    return Trial(family="f", parameters={}, rung=rung, rows=rows, score=score, scores=[score], seconds=seconds)


def test_a_rung_that_was_cut_short_decides_nothing() -> None:
    found = FamilySearch("f", deadline=0, trials=[trial(0, 0.6), trial(0, 0.8), trial(1, 0.7)], asked=[2, 2])
    assert found.best.score == 0.8
    assert found.left_out == 1
    found.trials.append(trial(1, 0.75))
    assert found.best.score == 0.75
    assert found.left_out == 0


def test_what_would_not_be_done_in_time_is_not_begun() -> None:
    found = FamilySearch("f", deadline=time.monotonic() + 20, asked=[2])
    assert found.has_time_for(10**9), "something must be tried"
    found.trials += [trial(0, 0.6, seconds=0.1), trial(0, 0.6, seconds=5)]
    assert found.has_time_for(300), "three times as many rows as the slowest of the rung had: 15 s"
    assert not found.has_time_for(600)


def test_one_train_week_leaves_nothing_to_compare(training: Training, tmp_path: Path) -> None:
    manifest = TrainingSetManifest.read(training.training_set.manifest)
    short = tmp_path / "manifest.json"
    manifest.model_copy(update={"weeks": manifest.weeks[:3]}).write(short)
    found = tune(
        training.settings,
        training.plan.model_copy(update={"folder": tmp_path}),
        training.training_set.model_copy(update={"manifest": short}),
    )
    assert (found.family, found.parameters) == (LOGISTIC_REGRESSION, {})
    assert "too few answers" in found.left_out[0]


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ({HIST_GRADIENT_BOOSTING: {"depth": [3]}}, "names depth"),
        ({HIST_GRADIENT_BOOSTING: {"early_stopping": [True]}}, "names early_stopping"),
        ({LOGISTIC_REGRESSION: {"C": ["much"]}}, "candidate of logistic_regression cannot be fitted"),
    ],
)
def test_a_space_that_the_classifier_does_not_take_is_refused(
    training: Training, tmp_path: Path, space: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        tuned(training, tmp_path, space=space)


def test_without_a_space_both_families_have_their_own(training: Training, tmp_path: Path) -> None:
    trials = trials_of(tuned(training, tmp_path, space={}, candidates=2)).trials
    for family, space in SPACES.items():
        (one,) = [t for t in trials if t.family == family]
        assert one.parameters.keys() == space.keys()


def test_a_span_is_drawn_between_its_ends() -> None:
    random = np.random.RandomState(1)
    for span in (Span(low=2, high=5), Span(low=0.001, high=10, log=True)):
        drawn = [span.rvs(random) for _ in range(500)]
        assert span.low <= min(drawn) < span.low * 1.1
        assert span.high * 0.9 < max(drawn) <= span.high
        assert type(drawn[0]) is float
    magnitudes = np.log10([Span(low=0.001, high=10, log=True).rvs(random) for _ in range(500)])
    assert np.mean(magnitudes < -1) == pytest.approx(0.5, abs=0.07)
    assert {type(Span(low=1, high=9, integer=True).rvs(random)) for _ in range(9)} == {int}
