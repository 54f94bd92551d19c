"""Fit, the fourth stage of a training: learn from the train weeks, calibrate on the validation weeks, export.

The entry point is `fit`.
"""

import json
import shutil

from pipeline.files import write_text
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import TrainingData
from pipeline.settings import Settings
from pipeline.training.handoffs import TRIALS_FILE, Fitted, TrainingPlan, TrainingSet, Tuned
from pipeline.training.pipelines.families import calibrated, estimator, round_to_float32, threads_for
from pipeline.training.pipelines.onnx_export import export
from pipeline.training.pipelines.own_pipeline import fit_pipeline, load_pipeline
from pipeline.training.training_set import answers, features_of, frame, read_weeks, split


def fit(settings: Settings, plan: TrainingPlan, training_set: TrainingSet, tuned: Tuned) -> Fitted:
    """Fit and calibrate the pipeline, and write it as scikit-learn's and as ONNX.

    Raises
    ------
    ModelError
        If the labels are too few, or the pipeline cannot be fitted or does not export exactly.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    parts = split(settings, manifest)
    train, validation = (read_weeks(training_set.manifest.parent, part) for part in (parts.train, parts.validation))
    features = features_of(manifest, train)
    rows = frame(train, features)
    pipeline = (
        load_pipeline(plan.pipeline, settings.model.seed)
        if plan.pipeline
        else estimator(features, tuned.family, tuned.parameters, settings.model.seed)
    )
    with threads_for(len(rows)):
        fitted = fit_pipeline(pipeline, rows, answers(train))
    pipeline = calibrated(round_to_float32(fitted), frame(validation, features), answers(validation))
    model, facts = plan.folder / "model", plan.folder / "facts.json"
    shutil.rmtree(model, ignore_errors=True)  # left by an earlier attempt
    compared = export(pipeline, features, rows, model, tuned.family)
    shutil.copyfile(tuned.trials, model / TRIALS_FILE)
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
        "parameters": {"family": tuned.family, **tuned.parameters, "seed": settings.model.seed},
    }
    write_text(facts, json.dumps(stated))
    return Fitted(model=model, facts=facts, parity_rows=compared)
