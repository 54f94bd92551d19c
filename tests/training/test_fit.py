"""Fitting: the same data give the same predictions; the export refuses a pipeline that would score differently."""

import json

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from pipeline.errors import ModelError
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import ONNX_FILE, Feature, open_bundle
from pipeline.models.scoring.onnx import OnnxEngine
from pipeline.models.scoring.scorer import Scorer
from pipeline.training.fit import fit
from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, calibrated, estimator
from pipeline.training.pipelines.onnx_export import export, to_onnx
from pipeline.training.pipelines.parity import PARITY_ROWS, check_parity
from pipeline.training.training_plan import plan_training
from pipeline.training.training_set import frame, read_weeks
from tests.tiny_model import PARAMETERS, made_up_rows
from tests.training.conftest import LAST_WEEK, Training

FEATURES = [
    Feature(name="amount", kind="number"),
    Feature(name="events", kind="number"),
    Feature(name="kind", kind="category", categories=["a", "b", "c", "d"]),
]
BOOSTING = {"max_iter": 20, "min_samples_leaf": 5, "random_state": 0, "early_stopping": False}


@pytest.fixture(scope="module")
def rows():
    return made_up_rows(FEATURES, 800)


def test_the_bundle_says_what_it_was_made_from(training: Training) -> None:
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    assert [(f.name, f.kind, f.categories) for f in bundle.features] == [
        ("events", "number", []),
        ("amount", "number", []),
        ("is_busy", "number", []),
        ("kind", "category", ["c"]),
    ]
    weeks = training.plan.weeks
    said = bundle.training
    assert (said.train_weeks, said.validation_weeks, said.test_weeks) == (weeks[:4], weeks[4:5], weeks[5:])
    assert (said.cutoff, said.digest, said.rows) == (training.plan.cutoff, training.training_set.digest, 600)
    assert bundle.libraries["scikit-learn"]
    assert bundle.code_version
    assert {"model.onnx", "model.skops", "MLmodel", "input_example.json"} <= bundle.files.keys()


def test_training_twice_on_the_same_data_gives_the_same_predictions(training: Training) -> None:
    plan = plan_training(training.settings, as_of=LAST_WEEK, airflow_run_id="manual__again")
    again = fit(training.settings, plan, training.training_set, training.tuned)
    facts = json.loads(again.facts.read_text())
    assert facts == json.loads(training.fitted.facts.read_text())
    assert (again.model / ONNX_FILE).read_bytes() == (training.fitted.model / ONNX_FILE).read_bytes()


def test_a_retry_after_a_death_in_the_middle_starts_afresh(training: Training) -> None:
    plan = plan_training(training.settings, as_of=LAST_WEEK, airflow_run_id="manual__died")
    (plan.folder / "model").mkdir(parents=True)
    (plan.folder / "model" / "MLmodel").write_text("half")
    assert fit(training.settings, plan, training.training_set, training.tuned).parity_rows >= PARITY_ROWS


def test_skops_loads_the_very_model_that_onnx_holds(training: Training) -> None:
    import skops.io

    path = training.fitted.model / "model.skops"
    untrusted = skops.io.get_untrusted_types(file=path)
    assert all(name.startswith("sklearn.") for name in untrusted)
    pipeline = skops.io.load(path, trusted=untrusted)
    manifest = TrainingSetManifest.read(training.training_set.manifest)
    table = read_weeks(training.training_set.manifest.parent, manifest.weeks)
    bundle = open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest)
    scorer = Scorer.load(training.evaluated.bundle, training.evaluated.bundle_digest, threshold=0.5)
    onnx = scorer.score(table.combine_chunks().to_batches()[0]).column("satisfaction").to_numpy()
    assert np.abs(pipeline.predict_proba(frame(table, bundle.features))[:, 1] - onnx).max() < 1e-6


def test_the_label_is_no_feature(training: Training) -> None:
    names = [f.name for f in open_bundle(training.evaluated.bundle, training.evaluated.bundle_digest).features]
    assert not {"__satisfied", "satisfied", "week", "info_name", "customer_id", "product_id"} & set(names)


def test_calibration_is_a_sigmoid_on_the_margin(rows) -> None:
    x, y = rows
    fitted = estimator(FEATURES, HIST_GRADIENT_BOOSTING, PARAMETERS, 0).fit(x[:600], y[:600])
    pipeline = calibrated(fitted, x[600:], y[600:])
    margin = fitted.decision_function(x)
    logit = np.log(pipeline.predict_proba(x)[:, 1] / pipeline.predict_proba(x)[:, 0])
    slope, intercept = np.polyfit(margin, logit, 1)
    assert slope > 0
    assert np.abs(slope * margin + intercept - logit).max() < 1e-6


def test_a_pipeline_that_onnx_scores_differently_is_refused_naming_the_feature(rows, tmp_path) -> None:
    """Native categories of gradient boosting convert without an error and score wrongly."""
    x, y = rows
    encode = ColumnTransformer(
        [("kind", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["kind"])],
        remainder="passthrough",
    )
    pipeline = Pipeline(
        [("encode", encode), ("model", HistGradientBoostingClassifier(categorical_features=[0], **BOOSTING))]
    )
    with pytest.raises(ModelError, match=r"differ by up to 0.* rows as in training, by feature 'kind'"):
        export(pipeline.fit(x, y), FEATURES, x, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_difference_only_where_a_feature_is_unusual_is_found_too(rows) -> None:
    x, y = rows
    trained = estimator(FEATURES, HIST_GRADIENT_BOOSTING, PARAMETERS, 0).fit(x, y)
    engine = OnnxEngine(to_onnx(trained, FEATURES), FEATURES)
    assert check_parity(trained, engine, x) >= PARITY_ROWS

    class Different:
        """Predicts as the pipeline does, except for one unseen category."""

        def predict_proba(self, rows):
            return np.where(
                (rows["kind"] == "unseen in training").to_numpy()[:, None], 0.0, trained.predict_proba(rows)
            )

    with pytest.raises(ModelError, match="rows with feature 'kind' = 'unseen in training'"):
        check_parity(Different(), engine, x)


def test_not_a_number_counts_as_a_difference(rows) -> None:
    x, y = rows
    trained = estimator(FEATURES, HIST_GRADIENT_BOOSTING, PARAMETERS, 0).fit(x, y)

    class Nameless:
        def predict_proba(self, rows):
            return np.full((len(rows), 2), np.nan)

    with pytest.raises(ModelError, match="differ"):
        check_parity(Nameless(), OnnxEngine(to_onnx(trained, FEATURES), FEATURES), x)


def test_a_pipeline_that_does_not_convert_is_refused(rows, tmp_path) -> None:
    x, y = rows
    numbers = Pipeline(
        [("impute", SimpleImputer(add_indicator=True)), ("model", HistGradientBoostingClassifier(**BOOSTING))]
    )
    numeric = FEATURES[:2]
    x = x[[feature.name for feature in numeric]]
    wrapped = CalibratedClassifierCV(Pipeline([("p", numbers)]), method="sigmoid", cv=2).fit(x, y)
    with pytest.raises(ModelError, match="cannot be converted to ONNX"):
        export(wrapped, numeric, x, tmp_path / "model")


def test_a_one_hot_pipeline_passes_through_the_same_door(rows, tmp_path) -> None:
    x, y = rows
    encode = ColumnTransformer(
        [
            ("numbers", "passthrough", ["amount", "events"]),
            ("kind", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["kind"]),
        ]
    )
    pipeline = Pipeline([("encode", encode), ("model", HistGradientBoostingClassifier(**BOOSTING))]).fit(x, y)
    assert export(pipeline, FEATURES, x, tmp_path / "model") >= PARITY_ROWS


def test_a_scaled_logistic_regression_passes_through_the_same_door(rows, tmp_path) -> None:
    """Extreme numbers are still numbers to it."""
    x, y = rows
    numbers = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    assert export(scaled(numbers).fit(x, y), FEATURES, x, tmp_path / "model") >= PARITY_ROWS


def test_a_pipeline_that_fails_on_absent_numbers_is_refused_with_the_feature(rows, tmp_path) -> None:
    x = rows[0].fillna(0)
    trained = scaled(StandardScaler()).fit(x, rows[1])
    with pytest.raises(ModelError, match="fails on rows with feature 'amount' = nan: Input X contains NaN"):
        export(trained, FEATURES, x, tmp_path / "model")


def scaled(numbers) -> Pipeline:
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer([("numbers", numbers, ["amount", "events"]), ("kind", one_hot, ["kind"])])
    return Pipeline([("prepare", prepare), ("classifier", LogisticRegression())])


def test_objects_that_are_not_scikit_learns_are_refused(rows, tmp_path) -> None:
    x, y = rows
    trained = estimator(FEATURES, HIST_GRADIENT_BOOSTING, PARAMETERS, 0).fit(x, y)
    trained.note = Feature(name="x", kind="number")
    with pytest.raises(ModelError, match=r"holds objects of pipeline\.models\.bundle\.Feature"):
        export(trained, FEATURES, x, tmp_path / "model")


def test_numbers_on_a_split_score_the_same_in_both_forms(rows) -> None:
    """Money and times of day after float32: neighbours that no float32 threshold lies between."""
    random = np.random.default_rng(3)
    x = rows[0].assign(amount=(1.7e9 + random.integers(0, 40, 800) * 128).astype("float32"))
    y = (x["amount"] > 1.7e9 + 20 * 128).astype("int8")
    trained = estimator(FEATURES, HIST_GRADIENT_BOOSTING, PARAMETERS, 0).fit(x, y)
    check_parity(trained, OnnxEngine(to_onnx(trained, FEATURES), FEATURES), x)
