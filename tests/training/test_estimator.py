"""The two families: both forms preprocess all numbers alike, and outliers do not dominate."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.errors import ModelError
from pipeline.models.bundle import Feature
from pipeline.models.scoring.columns import inputs
from pipeline.models.scoring.onnx import OnnxEngine
from pipeline.training.pipelines.families import (
    LOGISTIC_REGRESSION,
    SPACES,
    calibrated,
    estimator,
    round_to_float32,
)
from pipeline.training.pipelines.onnx_export import to_onnx
from pipeline.training.pipelines.parity import PARITY_ROWS, check_parity

LARGEST = np.finfo("f4").max
ROWS = 3_000
FEATURES = [
    Feature(name="money", kind="number"),
    Feature(name="epoch", kind="number"),
    Feature(name="wild", kind="number"),
    Feature(name="edges", kind="number"),
    Feature(name="near", kind="number"),
    Feature(name="flag", kind="number"),
    Feature(name="same", kind="number"),
    Feature(name="rare", kind="number"),
    Feature(name="kind", kind="category", categories=["a", "b"]),
]


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.Series]:
    """Columns that are difficult in float32, and labels that depend on several of them."""
    random = np.random.default_rng(5)
    numbers = {
        "money": random.integers(0, 30_000_000, ROWS) / 100,
        "epoch": 1.7e9 + random.integers(0, 40, ROWS) * 128.0,
        "wild": np.exp(random.normal(size=ROWS) * 20).clip(0, LARGEST),
        "edges": random.choice([LARGEST, -LARGEST, 0, 1], ROWS),
        "near": 1 + random.integers(0, 50, ROWS) * float(np.finfo("f4").eps),
        "flag": random.integers(0, 2, ROWS).astype(float),
        "same": np.ones(ROWS),
        "rare": np.where(random.random(ROWS) < 0.998, np.nan, random.normal(size=ROWS)),
    }
    x = pd.DataFrame(numbers).astype("float32")
    x["kind"] = pd.Series(random.choice(np.array(["a", "b"], dtype=object), ROWS), dtype=object)
    ranks = x[["money", "epoch", "wild", "near"]].rank(pct=True).sum(axis=1)
    margin = 4 * (ranks - 2) + x["flag"] + (x["kind"] == "a") - 1
    labels = (margin + random.logistic(size=ROWS) > 0).astype("int8")
    x.loc[random.random(ROWS) < 0.1, "money"] = np.nan
    return x, labels


def trained(rows, family: str, *, exact: bool = True):
    x, y = rows
    parameters = {"C": 100.0} if family == LOGISTIC_REGRESSION else {"max_iter": 30}
    fitted = estimator(FEATURES, family, parameters, 0).fit(x[:2000], y[:2000])
    return calibrated(round_to_float32(fitted) if exact else fitted, x[2000:], y[2000:])


def onnx_of(pipeline) -> OnnxEngine:
    return OnnxEngine(to_onnx(pipeline, FEATURES), FEATURES)


@pytest.mark.parametrize("family", SPACES)
def test_both_forms_agree_on_numbers_that_float32_is_hard_on(rows, family: str) -> None:
    pipeline = trained(rows, family)
    assert check_parity(pipeline, onnx_of(pipeline), rows[0]) >= PARITY_ROWS
    assert roc_auc_score(rows[1][2000:], pipeline.predict_proba(rows[0][2000:])[:, 1]) > 0.8


def test_without_rounded_quantiles_they_would_not(rows) -> None:
    pipeline = trained(rows, LOGISTIC_REGRESSION, exact=False)
    with pytest.raises(ModelError, match="by feature '"):
        check_parity(pipeline, onnx_of(pipeline), rows[0])


def test_outliers_leave_the_logistic_regression_where_it_was(rows) -> None:
    x, y = rows
    spoilt = x.copy()
    spoilt.loc[:4, ["money", "epoch"]] = LARGEST
    before, after = (
        estimator(FEATURES, LOGISTIC_REGRESSION, {}, 0).fit(some[:2000], y[:2000]).predict_proba(x[2000:])[:, 1]
        for some in (x, spoilt)
    )
    assert np.abs(before - after).max() < 0.05


@pytest.mark.parametrize("family", SPACES)
def test_a_column_may_be_empty_in_the_rows_that_a_rung_draws(rows, family: str) -> None:
    x, y = rows
    few = x[:200].assign(rare=np.float32(np.nan))
    fitted = estimator(FEATURES, family, {}, 0).fit(few, y[:200])
    assert np.isfinite(fitted.predict_proba(x)[:, 1]).all()


def test_an_infinite_number_counts_as_absent() -> None:
    import pyarrow as pa

    column = pa.array([np.inf, -np.inf, 1e300, np.nan, None, 2.0], pa.float64())
    made = inputs(pa.table({"money": column}), FEATURES[:1])["money"]
    assert made.dtype == np.float32
    assert np.isnan(made[:5]).all()
    assert made[5] == 2
