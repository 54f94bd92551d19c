"""A team's own pipeline: it is trained like ours, and anything else is refused with a clear error."""

import pickle
import re
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FunctionTransformer, Pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from pipeline.errors import ConfigError, ModelError
from pipeline.models.bundle import open_bundle
from pipeline.models.scoring.scorer import Scorer
from pipeline.training.evaluate import evaluate
from pipeline.training.fit import fit
from pipeline.training.handoffs import TrainingPlan
from pipeline.training.pipelines.onnx_export import check_types
from pipeline.training.pipelines.own_pipeline import admit, describe_pipeline, fit_pipeline, load_pipeline
from pipeline.training.training_plan import plan_training
from pipeline.training.training_set import LABEL
from pipeline.training.tune import tune
from tests.training.conftest import LAST_WEEK, Training

HOW_TO = Path(__file__).parents[2] / "docs" / "own-model.md"


def boosting(numbers: list[str], **parameters: Any) -> Pipeline:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    prepare = ColumnTransformer([("numbers", "passthrough", numbers), ("kind", encoder, ["kind"])])
    classifier = HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5, **parameters)
    return Pipeline([("prepare", prepare), ("classifier", classifier)])


def dumped(pipeline: Any, folder: Path) -> Path:
    skops.io.dump(pipeline, folder / "ours.skops")
    return folder / "ours.skops"


def planned(training: Training, file: Path, run: str) -> TrainingPlan:
    return plan_training(training.settings, as_of=LAST_WEEK, airflow_run_id=run, pipeline=file)


def test_the_how_to_makes_a_version(training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".barometer").symlink_to(training.settings.home)
    variables: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL):
        exec(code, variables)
    assert LABEL in HOW_TO.read_text(encoding="utf-8")
    plan = planned(training, tmp_path / "ours.skops", "own__how_to")
    (tmp_path / "ours.skops").unlink()  # a retry must not depend on it

    tuned = tune(training.settings, plan, training.training_set)
    fitted = fit(training.settings, plan, training.training_set, tuned)
    evaluated = evaluate(training.settings, plan, training.training_set, fitted)

    bundle = open_bundle(evaluated.bundle, evaluated.bundle_digest)
    assert bundle.parameters["pipeline"] == "ours.skops"
    assert bundle.parameters["steps"] == "ColumnTransformer > RandomForestClassifier"
    assert [feature.name for feature in bundle.features] == ["events", "amount", "is_busy", "kind"]
    assert {"profile.json", "model_card.md", "evaluation.json"} <= bundle.files.keys()
    assert 0.5 < evaluated.metrics["roc_auc"] <= 1
    assert Scorer.load(evaluated.bundle, evaluated.bundle_digest, threshold=0.5)


def test_what_the_file_was_fitted_on_is_thrown_away(tmp_path: Path):
    pipeline = boosting(["amount"])
    file = dumped(pipeline, tmp_path)
    blank = load_pipeline(admit(file, tmp_path / "blank"), 7)
    rows = pd.DataFrame({"amount": np.arange(100, dtype="float32"), "kind": ["a", "b"] * 50})
    file = dumped(pipeline.fit(rows, rows["amount"] > 50), tmp_path)
    again = load_pipeline(admit(file, tmp_path / "fitted"), 7)
    assert not hasattr(again[-1], "classes_")
    assert repr(again) == repr(blank)


def test_a_fitted_imputer_is_admitted(tmp_path: Path):
    """It keeps the dtype of the numbers it was fitted on, which is not scikit-learn's but holds no code."""
    forest = Pipeline([("impute", SimpleImputer()), ("classifier", RandomForestClassifier(3))])
    forest.fit(np.arange(20, dtype="float32").reshape(-1, 1), [0, 1] * 10)
    file = dumped(forest, tmp_path)
    assert "numpy.dtype" in skops.io.get_untrusted_types(file=file)
    assert load_pipeline(admit(file, tmp_path / "own"), 7)[-1].n_estimators == 3


def test_what_it_would_leave_to_chance_follows_the_seed(tmp_path: Path):
    file = dumped(boosting(["amount"]), tmp_path)
    assert load_pipeline(file, 7)[-1].random_state == 7
    file = dumped(boosting(["amount"], random_state=3), tmp_path)
    assert load_pipeline(file, 7)[-1].random_state == 3


def test_a_cache_of_pickles_is_not_used(tmp_path: Path):
    pipeline = boosting(["amount"]).set_params(memory=str(tmp_path / "cache"))
    assert load_pipeline(dumped(pipeline, tmp_path), 7).memory is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.skops cannot be read: No such file"):
        admit(tmp_path / "none.skops", tmp_path / "own")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("write", [pickle.dump, joblib.dump, lambda _, file: file.write(b"PK\x03\x04 torn")])
def test_a_file_in_another_format_is_refused_unopened(tmp_path: Path, write: Any):
    with (tmp_path / "ours.skops").open("wb") as file:
        write(Bomb(tmp_path / "ran"), file)
    with pytest.raises(ModelError, match=r"ours\.skops is not in skops' format"):
        admit(tmp_path / "ours.skops", tmp_path / "own")
    assert not (tmp_path / "ran").exists()


def test_objects_that_are_not_scikit_learns_classes_are_refused(tmp_path: Path):
    pipeline = boosting(["amount"])
    pipeline.steps.insert(1, ("own", FunctionTransformer(np.testing.suppress_warnings)))
    with pytest.raises(ModelError, match="holds objects of numpy"):
        admit(dumped(pipeline, tmp_path), tmp_path / "own")


def test_a_class_that_scikit_learn_defines_is_trusted():
    tree = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
    assert check_types([tree, "numpy.dtype"], "file") == [tree, "numpy.dtype"]


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.datasets._base.urlretrieve",
        "sklearn.utils._testing.subprocess",
        "sklearn.datasets._base.load_iris",
        "sklearn.nowhere.Evil",
        "sklearn.datasets._base.Path",
        "sklearnx.Evil",
    ],
)
def test_a_function_or_what_scikit_learn_merely_imports_is_not_trusted(name: str):
    """A name below `sklearn.` may lead to another library, because skops resolves it by import and attribute."""
    with pytest.raises(ModelError, match=f"The file holds objects of {name}"):
        check_types([name], "file")


@pytest.mark.parametrize(
    "found",
    [
        LogisticRegression(),
        Pipeline([("classifier", LogisticRegression())]),
        Pipeline([("scale", StandardScaler()), ("model", LinearRegression())]),
        {"a": 1},
    ],
    ids=["bare", "unprepared", "regressor", "no estimator"],
)
def test_what_is_no_pipeline_with_a_classifier_is_refused(tmp_path: Path, found: Any):
    with pytest.raises(ModelError, match="which is no pipeline with a classifier"):
        admit(dumped(found, tmp_path), tmp_path / "own")


def test_a_pipeline_that_names_other_columns_is_refused(training: Training, tmp_path: Path):
    plan = planned(training, dumped(boosting(["amount", "colour"]), tmp_path), "own__columns")
    tuned = tune(training.settings, plan, training.training_set)
    with pytest.raises(ModelError, match=r"cannot be fitted on the train weeks.*colour.*columns events, amount"):
        fit(training.settings, plan, training.training_set, tuned)


def test_a_pipeline_that_does_not_convert_is_refused(training: Training, tmp_path: Path):
    prepare = ColumnTransformer([("logarithm", FunctionTransformer(np.log1p), ["amount"])])
    pipeline = Pipeline([("prepare", prepare), ("classifier", HistGradientBoostingClassifier(max_iter=5))])
    plan = planned(training, dumped(pipeline, tmp_path), "own__onnx")
    tuned = tune(training.settings, plan, training.training_set)
    with pytest.raises(ModelError, match="cannot be converted to ONNX"):
        fit(training.settings, plan, training.training_set, tuned)


def test_the_version_says_which_file_it_came_from(tmp_path: Path):
    said = describe_pipeline(dumped(boosting(["amount"]), tmp_path))
    assert said.keys() == {"pipeline", "pipeline_digest", "steps"}
    assert said["steps"] == "ColumnTransformer > HistGradientBoostingClassifier"


def test_a_pipeline_that_fails_on_the_rows_is_refused_in_its_own_words(tmp_path: Path):
    rows = pd.DataFrame({"amount": np.array([1, np.nan, 3, 4], "float32")})
    pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])
    with pytest.raises(ModelError, match="ValueError: Input X contains NaN"):
        fit_pipeline(pipeline, rows, pd.Series([0, 1, 0, 1]))
