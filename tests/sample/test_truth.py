"""Satisfaction follows from the result of features.sql, can be learned, and is not linear."""

import numpy as np
import pandas as pd
import pytest

from examples.sample import company, true_probabilities
from examples.sample.life import live
from examples.sample.population import draw_chunk
from tests.sample.conftest import CUSTOMERS, END, KEY, ROOT, SEED, WEEKS, connect, features

CATEGORIES = {
    "product_category": company.CATEGORIES,
    "plan": company.PLANS,
    "region": company.REGIONS,
    "carrier": company.CARRIERS,
    "latest_topic": (*company.TOPICS[:-1], "unknown"),
}


def lived_features(sample, weeks: int) -> pd.DataFrame:
    """The generator's features in the last of `weeks` weeks, with the names of features.sql."""
    *_, lived = live(draw_chunk(0, CUSTOMERS, SEED), weeks, SEED, sample.first_week)
    (keys,) = true_probabilities(sample.folder, sample.first_week.plus(weeks - 1))
    frame = pd.DataFrame(lived.features)
    for name, words in CATEGORIES.items():
        frame[name] = [None if np.isnan(index) else words[int(index)] for index in frame[name]]
    return pd.concat([keys.select(KEY).to_pandas(), frame], axis=1)


def impossible(folder, week) -> set[tuple[str, str]]:
    query = "SELECT customer_id, product_id FROM usage WHERE minutes NOT BETWEEN 0 AND 10080"
    with connect(folder, week) as con:
        return set(con.execute(query).fetchall())


@pytest.mark.parametrize("weeks", [1, 3, 16, WEEKS])
def test_features_sql_makes_what_satisfaction_follows_from(sample, weeks):
    week = sample.first_week.plus(weeks - 1)
    made = features(sample.folder, week).to_pandas().set_index(KEY)
    lived = lived_features(sample, weeks).set_index(KEY).sort_index()
    assert made.index.equals(lived.index)
    flawed = impossible(sample.folder, week)
    as_written = [key not in flawed for key in made.index]
    assert sum(as_written) > len(made) - 15
    assert [name for name in made if not name.startswith("info_")] == list(lived)
    for name in lived:
        found, true = made.loc[as_written, name], lived.loc[as_written, name]
        if name in CATEGORIES:
            assert found.where(found.notna(), None).tolist() == true.tolist(), name
        else:
            numbers = found.astype("Float64").to_numpy(float, na_value=np.nan)
            assert np.allclose(numbers, true.to_numpy(float), equal_nan=True), name


def test_true_probabilities_are_those_of_the_week(sample):
    *_, lived = live(draw_chunk(0, CUSTOMERS, SEED), WEEKS, SEED, sample.first_week)
    (table,) = true_probabilities(sample.folder, END)
    assert table.column_names == [*KEY, "probability"]
    assert table["probability"].to_pylist() == lived.probability.tolist()
    assert len(table) == sample.subjects


@pytest.fixture
def labels(con):
    """A connection in which sql/labels.sql is the view `labels`, as of the sample's end."""
    con.execute(f"CREATE VIEW labels AS {(ROOT / 'sql/labels.sql').read_text()}")
    return con


def test_labels_are_the_answers_each_once(sample, labels):
    answers, rows, subjects, satisfied = labels.execute("""
        SELECT (SELECT count(DISTINCT (customer_id, product_id, about_week)) FROM surveys), count(*),
            count(DISTINCT (customer_id, product_id, week)), avg(CAST(satisfied AS INT)) FROM labels""").fetchone()
    assert answers == rows == subjects
    assert abs(satisfied - sample.satisfied_fraction) < 0.03


def test_labels_are_known_a_week_late_and_for_mondays(labels):
    soon, tuesday = labels.execute("""
        SELECT count(*) FILTER (observed_at < week + 7), count(*) FILTER (isodow(week) <> 1) FROM labels""").fetchone()
    assert (soon, tuesday) == (0, 0)


def test_labels_follow_the_true_probability(sample, labels):
    from sklearn.metrics import roc_auc_score

    week = END.plus(-4)
    (truth,) = true_probabilities(sample.folder, week)
    labels.register("truth", truth)
    joined = "SELECT satisfied, probability FROM labels JOIN truth USING (customer_id, product_id)"
    satisfied, probability = zip(*labels.execute(f"{joined} WHERE week = DATE '{week}'").fetchall(), strict=True)
    assert len(satisfied) > 100
    assert roc_auc_score(satisfied, probability) > 0.7


def test_features_are_the_same_on_any_number_of_threads(sample):
    assert features(sample.folder, END, threads=1).equals(features(sample.folder, END, threads=4))


def test_best_reachable_auc_and_the_straight_line_below_it(sample):
    assert 0.75 < sample.best_auc < 0.85
    assert sample.logistic_auc < sample.best_auc - 0.03


def test_gradient_boosting_comes_close_to_the_best():
    """On at least 20,000 test rows, from the plain features alone."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    weeks = [lived for lived in live(draw_chunk(0, 45_000, SEED), 24, SEED, END.plus(-23)) if lived.week >= 6]
    answered = [np.searchsorted(lived.active, lived.answers.row) for lived in weeks]
    rows = [
        np.column_stack([v[at] for v in lived.features.values()]) for lived, at in zip(weeks, answered, strict=True)
    ]
    satisfied = [lived.answers.answer >= 4 for lived in weeks]
    model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, max_leaf_nodes=15, random_state=1)
    with threadpool_limits(1):  # threads that wait for each other on a busy machine cost more than they save
        model.fit(np.concatenate(rows[:-4]), np.concatenate(satisfied[:-4]))
    truth = np.concatenate([lived.probability[at] for lived, at in zip(weeks[-4:], answered[-4:], strict=True)])
    labels = np.concatenate(satisfied[-4:])
    best = roc_auc_score(labels, truth)
    reached = roc_auc_score(labels, model.predict_proba(np.concatenate(rows[-4:]))[:, 1])
    assert labels.size >= 20_000
    assert 0.75 < best < 0.85
    assert reached > best - 0.02
