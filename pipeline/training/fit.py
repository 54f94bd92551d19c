"""Fit, the third stage of a training: learn from the train weeks, calibrate on the validation weeks, export.

The entry point is `fit`.
"""

import json
import shutil

from pipeline.files import write_text
from pipeline.handoffs import Fitted, TrainingPlan, TrainingSet
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import TrainingData
from pipeline.settings import Settings
from pipeline.training.estimator import PARAMETERS, calibrated, estimator
from pipeline.training.export import export
from pipeline.training.training_set import answers, features_of, frame, read_weeks, split


def fit(settings: Settings, plan: TrainingPlan, training_set: TrainingSet) -> Fitted:
    """Fit and calibrate the pipeline, and write it in both forms.

    Raises
    ------
    ModelError
        If the labels are too few, or the pipeline does not export exactly.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    parts = split(settings, manifest)
    train, validation = (read_weeks(training_set.manifest.parent, part) for part in (parts.train, parts.validation))
    features = features_of(manifest, train)
    rows = frame(train, features)
    fitted = estimator(features, settings.model.seed, PARAMETERS).fit(rows, answers(train))
    pipeline = calibrated(fitted, frame(validation, features), answers(validation))
    model, facts = plan.folder / "model", plan.folder / "facts.json"
    shutil.rmtree(model, ignore_errors=True)  # what an attempt before this one left
    compared = export(pipeline, features, rows, model)
    training = TrainingData(
        cutoff=manifest.cutoff,
        train_weeks=[week.week for week in parts.train],
        validation_weeks=[week.week for week in parts.validation],
        test_weeks=[week.week for week in parts.test],
        rows=sum(week.rows for week in manifest.weeks),
        digest=training_set.digest,
    )
    stated = {
        "features": [feature.model_dump() for feature in features],
        "training": training.model_dump(mode="json"),
        "parameters": {**PARAMETERS, "seed": settings.model.seed},
    }
    write_text(facts, json.dumps(stated))
    return Fitted(model=model, facts=facts, parity_rows=compared)
