"""The evaluation: the figures sealed with a version can be computed again from its test rows."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import Feature, open_bundle
from pipeline.models.evaluation_metrics import metrics
from pipeline.models.profile import PROFILE_FILE
from pipeline.models.scoring.scorer import Scorer
from pipeline.training.evaluate import evaluate
from pipeline.training.evaluation.feature_auc import feature_auc
from pipeline.training.evaluation.measures import (
    EVALUATION_FILE,
    Evaluation,
    ScoredRows,
    measure,
    score_rows,
    score_with_champion,
)
from pipeline.training.evaluation.model_card import CARD_FILE
from pipeline.training.handoffs import TRIALS_FILE, Evaluated
from pipeline.training.training_set import LABEL, answers, read_weeks
from tests.training.conftest import Training


def evaluation_of(evaluated: Evaluated) -> Evaluation:
    bundle = open_bundle(evaluated.bundle, evaluated.bundle_digest)
    return Evaluation.model_validate_json(bundle.read(evaluated.bundle, EVALUATION_FILE))


@pytest.fixture(scope="module")
def evaluation(training: Training) -> Evaluation:
    return evaluation_of(training.evaluated)


def evaluated_again(training: Training, **model: object) -> Evaluated:
    settings = training.settings
    changed = settings.model_copy(update={"model": settings.model.model_copy(update=model)})
    return evaluate(changed, training.plan, training.training_set, training.fitted)


def test_the_test_companys_model_learns_something(training: Training, evaluation: Evaluation) -> None:
    measured = training.evaluated.metrics
    assert training.evaluated.test_rows == measured["rows"] == evaluation.rows == 100
    assert measured["roc_auc"] > 0.65
    assert measured["log_loss"] < measured["base_rate_log_loss"]
    assert evaluation.against_base_rate["log_loss"].high < 0


def test_everything_is_sealed_with_the_version(training: Training) -> None:
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    assert {EVALUATION_FILE, PROFILE_FILE, CARD_FILE, TRIALS_FILE} <= bundle.files.keys()
    assert bundle.metrics == training.evaluated.metrics


def test_the_figures_are_those_of_the_test_weeks_scored_from_the_bundle(
    training: Training, evaluation: Evaluation
) -> None:
    folder, manifest = training.training_set.manifest.parent, TrainingSetManifest.read(training.training_set.manifest)
    test = read_weeks(folder, manifest.weeks[-1:])
    scorer = Scorer.load(training.evaluated.bundle, training.evaluated.bundle_digest, threshold=0.5)
    again = metrics(answers(test).to_numpy(), score_rows(scorer, test))
    assert {name: estimate.value for name, estimate in evaluation.overall.items()} == pytest.approx(
        {name: again[name] for name in evaluation.overall}
    )
    assert evaluation.weeks == [manifest.weeks[-1].week]
    assert sum(point.rows for point in evaluation.curve) == 100


def test_it_becomes_the_first_champion(training: Training, evaluation: Evaluation) -> None:
    registered = training.registered
    assert (registered.version, registered.is_champion, registered.from_week) == ("1", True, training.plan.as_of)
    assert registered.metrics == training.evaluated.metrics
    assert evaluation.champion is None


def test_a_later_one_is_compared_with_the_champion_on_the_same_rows(training: Training) -> None:
    bundle = training.evaluated.bundle
    kept = {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}
    try:
        champion = evaluation_of(evaluated_again(training)).champion
    finally:
        for name, content in kept.items():
            (bundle / name).write_bytes(content)
    assert champion is not None
    assert (champion.version, champion.refusal, champion.knows_weeks) == ("1", None, [])
    assert champion.differences["roc_auc"].model_dump() == {"value": 0, "low": 0, "high": 0}
    assert champion.overall["roc_auc"].value == training.evaluated.metrics["roc_auc"]


def test_a_champion_that_cannot_be_scored_does_not_stop_its_successor(training: Training) -> None:
    champion, satisfaction = score_with_champion(training.settings, "99", table(600), [])
    assert champion is not None
    assert "has no version '99'" in str(champion.refusal)
    assert satisfaction is None


def test_a_segment_that_features_sql_does_not_return_is_refused(training: Training) -> None:
    with pytest.raises(ConfigError, match=r"no text nowhere, amount, named in segments"):
        evaluated_again(training, segments=("nowhere", "kind", "amount"))


def measured(tested: ScoredRows, rows: pa.Table, segments: tuple[str, ...]) -> Evaluation:
    return measure(tested, rows, segments, weeks=[], champion=None, feature_auc={})


def table(rows: int) -> pa.Table:
    random = np.random.default_rng(1)
    number, absent = random.random(rows), random.random(rows) < 0.3
    label = random.random(rows) < 0.5
    return pa.table(
        {
            "customer_id": [f"c{n % 50}" for n in range(rows)],
            "product_id": ["p1"] * (rows - 30) + ["p2"] * 30,
            "info_size": pa.array([None, "small", "large"] * (rows // 3), pa.string()),
            "chance": pa.array(number.astype("f4")),
            "bend": pa.array((label - 0.5) ** 2 * 4 * np.where(label, number, number.round()), mask=absent),
            "told": pa.array(np.where(label, "yes", "no")),
            "absence": pa.array(number, mask=~label),
            LABEL: pa.array(label.astype("int8")),
        }
    )


def test_products_and_segments_are_measured_where_their_rows_are_enough() -> None:
    rows = table(600).filter(pa.array([True] * 570 + [False] * 25 + [True] * 5))
    tested = ScoredRows.of(rows, np.linspace(0.2, 0.8, 575), np.full(575, 0.5), seed=1)
    groups = measured(tested, rows, ("info_size",)).groups
    assert [(g.by, g.value, g.rows) for g in groups] == [
        ("product_id", "p1", 570),
        ("product_id", "p2", 5),
        ("info_size", "large", 192),
        ("info_size", "small", 192),
        ("info_size", None, 191),
    ]
    assert [g.overall is None for g in groups] == [False, True, False, False, False]
    assert groups[1].against_champion is None
    alone = rows.filter(pa.compute.equal(rows["info_size"], "small"))
    places = np.flatnonzero(np.array(rows["info_size"].to_pylist()) == "small")
    assert groups[3].overall["brier"].value == pytest.approx(
        metrics(answers(alone).to_numpy(), tested.satisfaction[places])["brier"]
    )
    assert groups[3].satisfied == answers(alone).sum()
    assert groups[3].against_champion["brier"].value == pytest.approx(groups[3].overall["brier"].value - 0.25)


def test_subjects_of_several_weeks_are_one() -> None:
    rows = table(600)
    tested = ScoredRows.of(rows, np.full(600, 0.5), None, seed=1)
    assert measured(tested, rows, ()).subjects == len({(r["customer_id"], r["product_id"]) for r in rows.to_pylist()})


def test_a_feature_that_tells_the_answer_shows_in_whatever_way_it_tells() -> None:
    names = {"chance": "number", "bend": "number", "absence": "number", "told": "category"}
    features = [Feature(name=name, kind=kind) for name, kind in names.items()]
    alone = feature_auc(table(3_000), table(3_000), features)
    assert alone["told"] > 0.99
    assert alone["absence"] > 0.99, "it is absent where the answer is no"
    assert alone["bend"] > 0.7
    assert 0.4 < alone["chance"] < 0.75


def test_the_evaluation_reads_back_as_written(training: Training, evaluation: Evaluation) -> None:
    text = (training.evaluated.bundle / EVALUATION_FILE).read_text()
    assert json.loads(evaluation.model_dump_json()) == json.loads(text)
