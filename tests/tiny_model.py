"""A tiny model for tests: trained on made-up rows of the test company's features, in well under a second."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn
from pipeline.models.bundle import BUNDLE_FILE, Feature, TrainingData, open_bundle, seal
from pipeline.models.scoring.columns import MISSING
from pipeline.settings import Settings
from pipeline.training.evaluation.measures import EVALUATION_FILE
from pipeline.training.handoffs import Evaluated, TrainingPlan
from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, calibrated, estimator
from pipeline.training.pipelines.onnx_export import export
from pipeline.weeks import Week

COMPANY_COLUMNS = [
    FeatureColumn(name="events", kind="number"),
    FeatureColumn(name="amount", kind="number"),
    FeatureColumn(name="is_busy", kind="number"),
    FeatureColumn(name="kind", kind="category"),
    FeatureColumn(name="info_name", kind="info"),
]
PARAMETERS: dict[str, float | int | str] = {"max_iter": 10, "min_samples_leaf": 5}


def tiny_bundle(
    folder: Path, columns: list[FeatureColumn] | None = None, cutoff: datetime = datetime(2026, 1, 5, tzinfo=UTC)
) -> str:
    """Make a bundle in `folder`, which must not exist, for these feature columns; return its digest."""
    features = features_of(columns or COMPANY_COLUMNS)
    fit_and_export(folder, features, *made_up_rows(features, 600))
    return seal_made_up(folder, features, cutoff)


def features_of(columns: Sequence[FeatureColumn]) -> list[Feature]:
    """The features that are in these columns; each category has the values a, b and c."""
    return [
        Feature(name=c.name, kind=c.kind, categories=["a", "b", "c"] if c.kind == "category" else [])
        for c in columns
        if c.kind != "info"
    ]


def fit_and_export(folder: Path, features: list[Feature], rows: pd.DataFrame, labels: "pd.Series[int]") -> None:
    """Fit on the first two thirds of the rows, calibrate on the rest, and export to `folder`, which is not sealed."""
    part = 2 * len(rows) // 3
    fitted = estimator(features, HIST_GRADIENT_BOOSTING, PARAMETERS, 0).fit(rows[:part], labels[:part])
    export(calibrated(fitted, rows[part:], labels[part:]), features, rows[:part], folder, HIST_GRADIENT_BOOSTING)
    (folder / EVALUATION_FILE).write_text('{"feature_auc": {}}')


def seal_made_up(folder: Path, features: list[Feature], cutoff: datetime, digest: str = "made up") -> str:
    training = TrainingData(cutoff=cutoff, train_weeks=[], validation_weeks=[], test_weeks=[], rows=600, digest=digest)
    return seal(
        folder, features=features, training=training, parameters=PARAMETERS, metrics={}, code_version="", libraries={}
    )


def made_up_rows(features: list[Feature], rows: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return rows that hold missing values, and labels that depend on every feature."""
    random = np.random.default_rng(7)
    margin = random.logistic(size=rows)
    columns = {}
    for feature in features:
        if feature.kind == "number":
            values = random.normal(10, 30, rows).astype("float32")
            margin += (values > 10) - 0.5
            values[random.random(rows) < 0.1] = np.nan
        else:
            values = random.choice(np.array([*feature.categories, MISSING], dtype=object), rows)
            margin += (values == feature.categories[0]) - 0.3
        columns[feature.name] = pd.Series(values, dtype=values.dtype)
    return pd.DataFrame(columns), pd.Series((margin > 0).astype("int8"))


def evaluated_as_of(settings: Settings, unsealed: Path, week: Week, remark: str = "") -> tuple[TrainingPlan, Evaluated]:
    """The tiny bundle as if trained as of `week`; `remark` makes it another one."""
    folder = settings.home / "training" / f"{week}-{remark}"
    plan = TrainingPlan(
        training_id=folder.name, as_of=str(week), cutoff=week.cutoff(settings.zone), weeks=[], folder=folder
    )
    if not folder.exists():
        shutil.copytree(unsealed, folder / "model")
    facts = open_facts(folder / "model")
    facts["training"]["cutoff"] = plan.cutoff
    digest = seal(folder / "model", **{**facts, "code_version": remark, "metrics": {"roc_auc": 0.7}})
    return plan, Evaluated(bundle=folder / "model", bundle_digest=digest, test_rows=1, metrics={"roc_auc": 0.7})


def open_facts(folder: Path) -> dict[str, Any]:
    return open_bundle(folder, sha256_of_file(folder / BUNDLE_FILE)).model_dump(mode="json", exclude={"files"})
