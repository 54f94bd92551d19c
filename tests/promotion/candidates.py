"""Versions for the gate to judge, good and bad ones of every kind, registered with their test rows.

All of them are made from one made-up training set of the test company's features, without reading any source.
"""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import sha256_of_file, sha256_of_text
from pipeline.manifests import FeatureColumn, TrainingSetManifest, TrainingWeek
from pipeline.models.bundle import TrainingData, seal
from pipeline.models.evaluation_metrics import metrics
from pipeline.models.scoring.columns import MISSING
from pipeline.models.scoring.scorer import Scorer, engine_in
from pipeline.settings import Settings
from pipeline.training.evaluation.measures import EVALUATION_FILE, score_rows
from pipeline.training.handoffs import Evaluated, Parameters, Registered, TrainingPlan
from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, calibrated, estimator
from pipeline.training.pipelines.onnx_export import export
from pipeline.training.register import register
from pipeline.training.training_set import LABEL, answers, frame
from pipeline.weeks import Week
from tests.tiny_model import COMPANY_COLUMNS, PARAMETERS, features_of, made_up_rows

AS_OF = Week.parse("2026-03-02")
SUBJECTS = 1200
TEST_WEEK = AS_OF.plus(-4)
Spoil = Callable[[pd.DataFrame, "pd.Series[int]"], tuple[pd.DataFrame, "pd.Series[int]"]]
"""Changes the rows and labels that a version is fitted or calibrated on."""


def as_they_are(rows: pd.DataFrame, labels: "pd.Series[int]") -> tuple[pd.DataFrame, "pd.Series[int]"]:
    return rows, labels


def muddled(rows: pd.DataFrame, labels: "pd.Series[int]") -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """Two thirds of the labels belong to other rows."""
    others = labels.sample(frac=1, random_state=1).reset_index(drop=True)
    return rows, labels.where(np.arange(len(labels)) % 3 == 0, others)


def shuffled(rows: pd.DataFrame, labels: "pd.Series[int]") -> tuple[pd.DataFrame, "pd.Series[int]"]:
    return rows, labels.sample(frac=1, random_state=1).reset_index(drop=True)


def rosy(rows: pd.DataFrame, labels: "pd.Series[int]") -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """Most unsatisfied rows are removed, so satisfaction is too high but its order is right."""
    kept = (labels == 1) | (np.arange(len(labels)) % 4 == 0)
    return rows[kept].reset_index(drop=True), labels[kept].reset_index(drop=True)


def candidate(
    settings: Settings,
    name: str,
    *,
    learn: Spoil = as_they_are,
    calibrate: Spoil = as_they_are,
    extra: FeatureColumn | None = None,
    leak: bool = False,
    as_of: Week = AS_OF,
    changes: Parameters | None = None,
) -> Registered:
    """Register a version with its training set; `extra` is one more feature, which with `leak` holds the label."""
    folder = settings.home / "training" / name
    columns = [*COMPANY_COLUMNS, *([extra] if extra else [])]
    table = _rows(columns, extra if leak else None)
    manifest = _write_set(settings, folder / "set", columns, table, as_of)
    features = features_of(columns)
    train, validation, test = (table.slice(part * SUBJECTS, SUBJECTS) for part in range(3))
    rows, labels = learn(frame(train, features), answers(train))
    fitted = estimator(features, HIST_GRADIENT_BOOSTING, {**PARAMETERS, **(changes or {})}, 0).fit(rows, labels)
    pipeline = calibrated(fitted, *calibrate(frame(validation, features), answers(validation)))
    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    export(pipeline, features, rows, model, HIST_GRADIENT_BOOSTING)
    satisfaction = score_rows(Scorer(engine_in(model, features), 0.5), test)
    measured = metrics(answers(test).to_numpy(), satisfaction)
    alone = {extra.name: 1.0} if extra and leak else {}
    (model / EVALUATION_FILE).write_text(json.dumps({"feature_auc": {"amount": 0.6, **alone}}))
    cutoff = as_of.cutoff(settings.zone)
    parts = ("train_weeks", "validation_weeks", "test_weeks")
    weeks = {part: [week.week] for part, week in zip(parts, manifest.weeks, strict=True)}
    training = TrainingData(cutoff=cutoff, rows=table.num_rows, digest=manifest.digest, **weeks)
    facts = {"parameters": PARAMETERS, "metrics": measured, "code_version": name, "libraries": {}}
    digest = seal(model, features=features, training=training, **facts)
    plan = TrainingPlan(training_id=name, as_of=str(as_of), cutoff=cutoff, weeks=[], folder=folder)
    return register(settings, plan, Evaluated(bundle=model, bundle_digest=digest, test_rows=SUBJECTS, metrics=measured))


def _rows(columns: list[FeatureColumn], leaking: FeatureColumn | None) -> pa.Table:
    """Three successive weeks of the same subjects; the label depends on every feature."""
    rows, labels = made_up_rows(features_of(COMPANY_COLUMNS), 3 * SUBJECTS)
    number = np.arange(3 * SUBJECTS) % SUBJECTS
    given = {name: pa.array(rows[name].replace(MISSING, None), from_pandas=True) for name in rows}
    for column in columns:
        if column.name not in given and column.kind == "number":
            values = labels if leaking and column.name == leaking.name else np.arange(len(labels)) % 7
            given[column.name] = pa.array(np.asarray(values, dtype="f4"))
    keys = {
        "customer_id": pa.array([f"c{n:04d}" for n in number]),
        "product_id": pa.array([f"p{n % 3}" for n in number]),
        "info_name": pa.array([f"name {n}" for n in number]),
    }
    return pa.table({**keys, **given, LABEL: pa.array(labels.to_numpy(), pa.int8())})


def _write_set(
    settings: Settings, folder: Path, columns: list[FeatureColumn], table: pa.Table, as_of: Week
) -> TrainingSetManifest:
    folder.mkdir(parents=True, exist_ok=True)
    weeks = []
    for part in range(3):
        week, rows = as_of.plus(part - 6), table.slice(part * SUBJECTS, SUBJECTS)
        path = folder / f"{week}.parquet"
        pq.write_table(rows, path)
        facts = {"rows": SUBJECTS, "satisfied": int(answers(rows).sum()), "digest": sha256_of_file(path)}
        weeks.append(TrainingWeek(week=str(week), file=path.name, **facts))
    is_current = columns == COMPANY_COLUMNS
    sql = settings.features_sql.read_text(encoding="utf-8") if is_current else "another query"
    digests = {"features_sql_digest": sha256_of_text(sql), "labels_sql_digest": ""}
    manifest = TrainingSetManifest(cutoff=datetime.now(UTC), columns=columns, weeks=weeks, **digests)
    manifest.write(folder / "manifest.json")
    return manifest
