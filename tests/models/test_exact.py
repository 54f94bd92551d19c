"""The exact engine: scikit-learn's own bits, in C and in NumPy, in any batch; and no file can lead it astray."""

import io
import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from pipeline.errors import ModelError
from pipeline.models.bundle import Feature
from pipeline.models.scoring import build_kernel, kernel
from pipeline.models.scoring.columns import MISSING, inputs
from pipeline.models.scoring.exact import ExactEngine
from pipeline.service.model.serving import inputs_of
from pipeline.training.pipelines.array_export import to_arrays
from pipeline.training.pipelines.families import (
    HIST_GRADIENT_BOOSTING,
    LOGISTIC_REGRESSION,
    calibrated,
    estimator,
    round_to_float32,
)
from pipeline.training.pipelines.parity import check_parity
from pipeline.training.training_set import frame

MODELS = int(os.environ.get("TEST_MODELS", "12"))
"""Random models of each family; 1,000 before a release."""
ROWS = 16_384
LARGEST = np.finfo("f4").max
ODD = np.array([0.0, -0.0, 1e-45, -1e-45, LARGEST, -LARGEST, 1e30, np.nan, np.inf, -np.inf], "f4")
RANDOMLY = settings(
    max_examples=MODELS, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """The kernel of this very source, wherever there is a compiler."""
    if kernel.library() is None and shutil.which("cc"):
        build_kernel.build()
        kernel.library.cache_clear()
        assert kernel.library() is not None


def number(random: np.random.Generator, rows: int) -> np.ndarray:
    """A column of one of the kinds that feeds hold, some of them hard on float32."""
    return random.choice([
        random.normal(size=rows) * 10.0 ** random.integers(-3, 30),
        random.integers(0, random.choice([1, 2, 5, 300, 100_000]), rows),
        1.7e9 + random.integers(0, 40, rows) * 128.0,
        1 + random.integers(0, 400, rows) * float(np.finfo("f4").eps),
        random.choice(ODD[:7], rows),
        np.where(random.random(rows) < 0.99, np.nan, random.normal(size=rows)),
    ]).astype("f4")  # fmt: skip


class Model:
    """A fitted random model of a family, and rows on and beside its thresholds."""

    def __init__(self, family: str, seed: int, numbers: int, categories: int, **parameters: float) -> None:
        random = np.random.default_rng(seed)
        texts = [f"value {each}" for each in range(random.choice([1, 3, 40, 270]))]
        names = [(f"category {at}", "category") for at in range(categories)]
        names += [(f"number {at}", "number") for at in range(numbers)]
        self.features = [Feature(name=n, kind=k, categories=texts if k == "category" else []) for n, k in names]
        rows = int(random.choice([40, 400, 1500]))
        columns = {n: number(random, 2 * rows) if k == "number" else random.choice(texts, 2 * rows) for n, k in names}
        for name, kind in names:
            absent = random.random(2 * rows) < random.choice([0, 0.3])
            columns[name] = pd.Series(np.where(absent, np.nan if kind == "number" else MISSING, columns[name]))
            columns[name] = columns[name].astype("f4" if kind == "number" else object)
        fitting = pd.DataFrame(columns)
        if all(len(set(fitting[name][:rows].dropna())) <= 1 for name, _ in names):  # scikit-learn refuses to fit these
            fitting[names[-1][0]] = random.normal(size=2 * rows).astype("f4")
        ranks = fitting.rank(pct=True).fillna(0.5).sum(axis=1) if random.random() < 0.8 else np.zeros(2 * rows)
        drawn = ranks + random.logistic(size=2 * rows) > ranks.mean()
        drawn[[0, 1, rows, rows + 1]] = [False, True, False, True]
        labels = pd.Series(drawn.astype("i1"))
        fitted = estimator(self.features, family, parameters, 0).fit(fitting[:rows], labels[:rows])
        self.pipeline = calibrated(round_to_float32(fitted), fitting[rows:], labels[rows:])
        self.arrays = to_arrays(self.pipeline, self.features, family)
        assert self.arrays is not None, "scikit-learn keeps its models in another form"
        drawn = fitting.iloc[random.integers(0, 2 * rows, ROWS)].reset_index(drop=True)
        for feature in self.features:
            is_odd = random.random(ROWS) < 0.4
            odd = np.array(["unseen", MISSING, ""]) if feature.kind == "category" else self.edges(feature)
            drawn.loc[is_odd, feature.name] = random.choice(odd, is_odd.sum())
        self.table = pa.table({f.name: pa.array(drawn[f.name].to_numpy(), from_pandas=True) for f in self.features})
        x = self.pipeline[:-1].transform(frame(self.table, self.features))
        member = self.pipeline[-1].calibrated_classifiers_[0]
        self.expected = member.estimator.decision_function(x)
        self.probabilities = member.calibrators[0].predict

    def edges(self, feature: Feature) -> np.ndarray:
        """The thresholds of a number, their neighbours in float32, and odd values."""
        arrays = dict(np.load(io.BytesIO(self.arrays)))
        at = self.features.index(feature)
        if "nodes" in arrays:
            found = arrays["nodes"]["threshold"][arrays["nodes"]["feature"] == at]
        else:
            found = arrays["thresholds"][at]
        with np.errstate(over="ignore"):
            return np.concatenate([found, *(np.nextafter(found, np.float32(to)) for to in (-np.inf, np.inf)), ODD])

    def check(self, tolerance: float) -> None:
        """Compare both engines with scikit-learn, and every batch, thread and way to ask with each other."""
        engines = [ExactEngine(self.arrays, self.features, use_kernel=use) for use in (True, False)]
        whole = inputs(self.table, self.features)
        raw, satisfaction = engines[0].raw(whole), engines[0].satisfaction(whole)
        if tolerance:
            assert np.abs(raw - self.expected).max() <= tolerance
        else:
            assert raw.tobytes() == self.expected.tobytes()
        assert (np.abs(satisfaction - self.probabilities(raw)) <= np.spacing(satisfaction)).all()
        for engine in engines:
            assert engine.raw(whole).tobytes() == raw.tobytes()
            for size, batches in ((1, 3), (7, 5), (256, 3), (5000, 4)):
                parts = [inputs(self.table.slice(at * size, size), self.features) for at in range(batches)]
                with ThreadPoolExecutor(4) as threads:
                    found = [[*map(engine.satisfaction, parts)], [*threads.map(engine.satisfaction, parts)]]
                for each in found:
                    assert np.concatenate(each).tobytes() == satisfaction[: size * batches].tobytes()
            asked = [tuple(row.values()) for row in self.table.slice(0, 20).to_pylist()]
            asked = [tuple(None if v in {np.inf, -np.inf} else v for v in row) for row in asked]  # a request has none
            assert engine.satisfaction(inputs_of(asked, self.features)).tobytes() == satisfaction[:20].tobytes()


SHAPE = {"seed": st.integers(0, 2**32), "numbers": st.integers(1, 5), "categories": st.integers(0, 2)}
TREES = {
    "max_iter": st.integers(1, 12),
    "max_leaf_nodes": st.sampled_from([2, 3, 8, 31, 256]),
    "max_depth": st.sampled_from([None, 1, 3]),
    "min_samples_leaf": st.sampled_from([1, 5, 500]),  # with 500 a tree is one leaf
    "learning_rate": st.sampled_from([0.1, 1.0]),
}


@RANDOMLY
@given(**SHAPE, **TREES)
def test_trees_give_scikit_learns_bits(**drawn) -> None:
    Model(HIST_GRADIENT_BOOSTING, **drawn).check(0)


@RANDOMLY
@given(**SHAPE, C=st.sampled_from([0.001, 1.0, 10.0]))
def test_a_logistic_regression_gives_scikit_learns_numbers(**drawn) -> None:
    Model(LOGISTIC_REGRESSION, **drawn).check(1e-6)


def test_the_sigmoid_is_scikit_learns_at_its_ends_too() -> None:
    x = np.array([0.0, -0.0, 36.8, -36.8, 709.7, -709.7, 709.79, -709.79, 745.2, -745.2, 1e300, -1e300])
    found = kernel.satisfactions(x, -1.0, 0.0)
    assert (np.abs(found - expit(x)) <= np.spacing(expit(x))).all()
    assert math.exp(kernel.LARGEST_EXPONENT) < math.inf


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    trees = {"max_iter": 5, "max_leaf_nodes": 8}
    return {
        "trees": Model(HIST_GRADIENT_BOOSTING, 3, 3, 1, **trees),
        "linear": Model(LOGISTIC_REGRESSION, 3, 3, 1),
    }


def saved(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize("family", ["trees", "linear"])
def test_arrays_of_another_type_or_shape_are_refused(models: dict[str, Model], family: str) -> None:
    model = models[family]
    good = dict(np.load(io.BytesIO(model.arrays)))
    spoilt = [
        model.arrays[:-40],
        b"",
        b"no zip",
        model.arrays.replace(b"NUMPY", b"GUMPY"),
        saved({**good, "more": good["codes"]}),
    ]
    for name, array in good.items():
        other = array.astype("f4" if array.dtype == "f8" else "f8") if array.dtype.names is None else array["value"]
        spoilt += [saved({k: v for k, v in good.items() if k != name}), saved({**good, name: np.array(None, object)})]
        spoilt += [saved({**good, name: changed}) for changed in (other, array[:-1], array[None], np.r_[array, array])]
        if array.dtype == "f8":
            spoilt.append(saved({**good, name: np.full_like(array, np.nan)}))
    for content in spoilt:
        with pytest.raises(ModelError, match=r"scorer\.npz"):
            ExactEngine(content, model.features)


def test_a_child_before_its_parent_is_refused(models: dict[str, Model]) -> None:
    """Two children that change places can make a circle, in which a walk would never end."""
    arrays, refused = dict(np.load(io.BytesIO(models["trees"].arrays))), 0
    inner = np.flatnonzero(arrays["nodes"]["feature"] >= 0)
    for one, other in combinations(inner[:12], 2):
        nodes = arrays["nodes"].copy()
        nodes["right"][[one, other]] = nodes["right"][[other, one]]
        if nodes["right"][other] <= other or nodes["right"][one] <= one:
            refused += 1
            with pytest.raises(ModelError, match="children after their parents"):
                ExactEngine(saved({**arrays, "nodes": nodes}), models["trees"].features)
    assert refused


@pytest.mark.parametrize("family", ["trees", "linear"])
def test_no_change_of_an_array_leads_outside_of_it(models: dict[str, Model], family: str) -> None:
    """An altered array is refused, or is another model, to which both engines agree."""
    model, random, refused = models[family], np.random.default_rng(0), 0
    whole = inputs(model.table.slice(0, 600), model.features)
    for _ in range(300):
        arrays = {name: array.copy() for name, array in np.load(io.BytesIO(model.arrays)).items()}
        array = arrays[random.choice([*arrays])]
        if array.dtype.names:
            array = array[random.choice(array.dtype.names)]
        values = [0, 1, -1, 2, array.flat[0], len(array), -(2**31), 2**31 - 1, 1e38, np.nan]
        with np.errstate(invalid="ignore"):
            array[tuple(random.integers(0, length) for length in array.shape)] = np.array(random.choice(values)).astype(
                array.dtype
            )
        try:
            engines = [ExactEngine(saved(arrays), model.features, use_kernel=use) for use in (True, False)]
        except ModelError:
            refused += 1
            continue
        with np.errstate(all="ignore"):
            raw = [
                engine.raw(columns) for engine in engines for columns in (whole, {n: c[:9] for n, c in whole.items()})
            ]
        assert np.array_equal(raw[0], raw[2], equal_nan=True)
        assert np.array_equal(raw[1], raw[3], equal_nan=True)
        assert np.array_equal(raw[0][:9], raw[1], equal_nan=True)
    assert 50 < refused < 300


@pytest.mark.parametrize(("family", "name"), [("trees", "nodes"), ("linear", "coefficients")])
def test_arrays_that_score_differently_are_refused_at_training(
    models: dict[str, Model], family: str, name: str
) -> None:
    model = models[family]
    rows = frame(model.table.slice(0, 800), model.features)
    check_parity(model.pipeline, ExactEngine(model.arrays, model.features), rows)
    arrays = dict(np.load(io.BytesIO(model.arrays)))
    if family == "trees":
        arrays[name]["value"] = np.nextafter(arrays[name]["value"], 9)
    else:
        arrays[name] = arrays[name] + 1e-5
    with pytest.raises(ModelError, match="The exact engine and scikit-learn differ"):
        check_parity(model.pipeline, ExactEngine(saved(arrays), model.features), rows)


def test_without_a_compiler_or_with_another_source_numpy_scores(
    models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole = models["trees"], inputs(models["trees"].table, models["trees"].features)
    expected = ExactEngine(model.arrays, model.features).satisfaction(whole)
    (tmp_path / "other.c").write_text(build_kernel.SOURCE.read_text() + "\n")
    monkeypatch.setattr(build_kernel, "LIBRARY", tmp_path / "none.so")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert not build_kernel.build()
    for name, path in (("LIBRARY", tmp_path / "none.so"), ("SOURCE", tmp_path / "other.c")):
        with monkeypatch.context() as patched:
            patched.setattr(kernel, name, path)
            kernel.library.cache_clear()
            assert kernel.library() is None
            assert ExactEngine(model.arrays, model.features).satisfaction(whole).tobytes() == expected.tobytes()
    kernel.library.cache_clear()
