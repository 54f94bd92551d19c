"""The scoring function: the same numbers in any batch, column order and exact column types."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest

from pipeline.errors import ModelError
from pipeline.models.bundle import ARRAYS_FILE, ONNX_FILE, Feature, open_bundle
from pipeline.models.scoring.columns import as_in_training, inputs
from pipeline.models.scoring.exact import ExactEngine
from pipeline.models.scoring.onnx import OnnxEngine
from pipeline.models.scoring.scorer import Scorer
from tests.tiny_model import made_up_rows, tiny_bundle


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    return folder, tiny_bundle(folder)


@pytest.fixture(scope="module", params=[ExactEngine, OnnxEngine])
def scorer(sealed: tuple[Path, str], request: pytest.FixtureRequest) -> Scorer:
    bundle = open_bundle(*sealed)
    name = ARRAYS_FILE if request.param is ExactEngine else ONNX_FILE
    return Scorer(request.param(bundle.read(sealed[0], name), bundle.features), 0.5)


@pytest.fixture(scope="module")
def batch(scorer: Scorer) -> pa.RecordBatch:
    rows, _ = made_up_rows(list(scorer.features), 3000)
    return pa.RecordBatch.from_pandas(rows.replace({"__missing__": None}), preserve_index=False)


def satisfaction(scorer: Scorer, batch: pa.RecordBatch) -> np.ndarray:
    return scorer.score(batch).column("satisfaction").to_numpy()


def test_a_score_is_a_probability_and_likely_satisfied_is_at_or_above_the_threshold(batch, sealed) -> None:
    scores = satisfaction(Scorer.load(*sealed, threshold=0.5), batch)
    assert scores.min() > 0
    assert scores.max() < 1
    assert scores.std() > 0.05
    threshold = float(scores[0])
    likely = Scorer.load(*sealed, threshold=threshold).score(batch).column("likely_satisfied")
    assert likely.to_pylist() == (scores >= threshold).tolist()
    assert likely[0].as_py() is True


def test_a_row_scores_the_same_in_whatever_batch_it_comes(scorer, batch) -> None:
    whole = satisfaction(scorer, batch)
    for size in (1, 7, 64, 1000):
        parts = [satisfaction(scorer, batch.slice(start, size)) for start in range(0, batch.num_rows, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_column_order_and_extra_columns_do_not_matter(scorer, batch) -> None:
    shuffled = batch.select(batch.schema.names[::-1]).append_column("extra", pa.nulls(batch.num_rows))
    assert satisfaction(scorer, shuffled).tobytes() == satisfaction(scorer, batch).tobytes()


def test_other_types_that_hold_the_same_values_score_the_same(scorer) -> None:
    def score(events, amount, is_busy, kind):
        return satisfaction(
            scorer, pa.record_batch([events, amount, is_busy, kind], names=["events", "amount", "is_busy", "kind"])
        )

    plain = score(
        pa.array([3, None], pa.float32()),
        pa.array([1.25, 0], pa.float32()),
        pa.array([1, 0], pa.float32()),
        pa.array(["a", None]),
    )
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        other = score(
            pa.array([3, None], pa.int64()),
            pa.array([Decimal("1.25"), Decimal(0)], pa.decimal128(12, 2)),
            pa.array([True, False]),
            pa.array(["a", None]).cast(kind),
        )
        assert other.tobytes() == plain.tobytes()


def test_a_large_integer_is_rounded_as_in_the_snapshot() -> None:
    number = 2**60 + 2**36 + 1  # rounded to float64 first, it lies on a tie between two float32 values
    assert np.float32(np.float64(number)) == 2**60
    batch = pa.record_batch([pa.array([number], pa.int64())], names=["n"])
    assert inputs(batch, [Feature(name="n", kind="number")])["n"].tolist() == [float(2**60)]


def test_what_is_absent_reaches_the_model_as_in_training(scorer) -> None:
    batch = pa.record_batch(
        [[None], [None], [None], pa.array([None], pa.string())], names=[feature.name for feature in scorer.features]
    )
    columns = inputs(batch, scorer.features)
    given = {feature.name: as_in_training(columns[feature.name], feature) for feature in scorer.features}
    assert given["kind"].tolist() == ["__missing__"]
    assert np.isnan(given["amount"]).all()
    assert given["amount"].dtype == np.float32


def test_no_rows_give_no_scores(scorer, batch) -> None:
    assert scorer.score(batch.slice(0, 0)).num_rows == 0


def test_an_all_null_column_scores_as_missing(scorer, batch) -> None:
    nulls = batch.set_column(3, "kind", pa.nulls(batch.num_rows)).set_column(0, "events", pa.nulls(batch.num_rows))
    assert np.isfinite(satisfaction(scorer, nulls)).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b.drop_columns(["amount"]), "'amount' there is 0 columns"),
        (lambda b: b.append_column("amount", b.column("amount")), "'amount' there is 2 columns"),
        (
            lambda b: b.set_column(1, "amount", pa.array(["1"] * b.num_rows)),
            "'amount' there is a column of type string",
        ),
        (lambda b: b.set_column(3, "kind", pa.array([1.0] * b.num_rows)), "'kind' there is a column of type double"),
    ],
)
def test_an_unfit_column_is_refused_by_name(scorer, batch, change, words) -> None:
    with pytest.raises(ModelError, match=words):
        scorer.score(change(batch))


def test_an_onnx_file_with_another_signature_is_refused(sealed) -> None:
    folder, digest = sealed
    bundle = open_bundle(folder, digest)
    content = bundle.read(folder, ONNX_FILE)
    renamed = [Feature(name="other", kind="number"), *bundle.features[1:]]
    retyped = [*bundle.features[:-1], Feature(name="kind", kind="number")]
    for features in (renamed, retyped, bundle.features[1:], bundle.features[::-1]):
        with pytest.raises(ModelError, match="inputs are not the features"):
            OnnxEngine(content, features)


def test_a_file_that_is_no_onnx_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        OnnxEngine(b"\x80\x04pickle", [])


def test_an_onnx_file_that_fails_on_the_rows_is_an_error_in_words(sealed, batch, monkeypatch) -> None:
    def fail(*_):
        raise OverflowError("in an operator\nof the model")

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
    bundle = open_bundle(*sealed)
    engine = OnnxEngine(bundle.read(sealed[0], ONNX_FILE), bundle.features)
    with pytest.raises(ModelError, match=r"ONNX file fails on 3000 rows: in an operator\."):
        engine.satisfaction(inputs(batch, bundle.features))


def test_features_may_have_any_name(tmp_path: Path) -> None:
    from pipeline.manifests import FeatureColumn

    names = {"Amount (€)": "number", "probabilities": "number", "label": "category", 'a\'b "c"': "category"}
    columns = [FeatureColumn(name=name, kind=kind) for name, kind in names.items()]
    scorer = Scorer.load(tmp_path / "model", tiny_bundle(tmp_path / "model", columns), threshold=0.5)
    assert [feature.name for feature in scorer.features] == list(names)


WITHOUT_TRAINING_LIBRARIES = """
import importlib.abc, sys
from pathlib import Path

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"sklearn", "skops", "pandas", "mlflow", "skl2onnx", "duckdb", "sqlalchemy"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import pyarrow as pa
import pipeline.weekly.score
from pipeline.models.scoring.scorer import Scorer

scorer = Scorer.load(Path(sys.argv[1]), sys.argv[2], threshold=0.5)
batch = pa.record_batch([[1.5], [None], [True], ["a"]], names=["events", "amount", "is_busy", "kind"])
print(scorer.score(batch).num_rows)
"""


def test_scoring_needs_no_training_library(sealed) -> None:
    """pyarrow imports pandas if it is installed, so the test makes these libraries unavailable."""
    command = [sys.executable, "-c", WITHOUT_TRAINING_LIBRARIES, *map(str, sealed)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr
