"""Report, the last stage of a training: how the version came about and how good it is, as one page for people.

The page shows the training's folder and the sealed bundle, and it decides nothing: the gate and the model card use the
same evaluation. It is written beside the weekly reports, as `site/training/<training_id>.html`, with an index of all
trainings. The entry point is `training_report`.
"""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pipeline import warehouse
from pipeline.files import write_text
from pipeline.handoff import Reported
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import Bundle, open_bundle
from pipeline.models.profile import PROFILE_FILE, Profile
from pipeline.models.scoring.scorer import Scorer
from pipeline.reporting.rendering import render
from pipeline.settings import Settings
from pipeline.training.evaluation.exploration import explore
from pipeline.training.evaluation.feature_auc import importance
from pipeline.training.evaluation.measures import EVALUATION_FILE, Evaluation
from pipeline.training.evaluation.model_card import CARD_FILE, cleaning_summary
from pipeline.training.handoffs import TRIALS_FILE, Evaluated, Registered, TrainingPlan, TrainingSet, Trials
from pipeline.training.training_set import Split, read_weeks, split

FEWEST_ROWS_FRACTION = 0.01
"""A bin with fewer of the train rows does not widen the scale of the charts."""


def training_report(
    settings: Settings, plan: TrainingPlan, training_set: TrainingSet, evaluated: Evaluated, registered: Registered
) -> Reported:
    """Write the training's page and the index of all trainings.

    Raises
    ------
    ConservationError, ModelError
        If a file of the training set or of the bundle is not as it was written.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    bundle = open_bundle(evaluated.bundle, evaluated.bundle_digest)
    evaluation = Evaluation.model_validate_json(bundle.read(evaluated.bundle, EVALUATION_FILE))
    parts = split(settings, manifest)
    folder = settings.site / "training"
    page = render(
        settings,
        "training.html",
        plan=plan,
        model=settings.model.name,
        registered=registered,
        manifest=manifest,
        bundle=bundle,
        bundle_digest=evaluated.bundle_digest,
        card=bundle.read(evaluated.bundle, CARD_FILE).decode(),
        evaluation=evaluation,
        parts=parts.by_name,
        cleaning=cleaning_summary(manifest, bundle),
        trials=Trials.model_validate_json(bundle.read(evaluated.bundle, TRIALS_FILE)),
        **_features(settings, evaluated, training_set.manifest.parent, parts, bundle),
    )
    summary = {
        "training_id": plan.training_id,
        "as_of": plan.as_of,
        "version": registered.version,
        "reason": registered.reason,
        "rows": evaluation.rows,
        "base_rate": evaluation.base_rate,
        "roc_auc": evaluation.overall["roc_auc"].model_dump(),
        "calibration_error": evaluation.overall["calibration_error"].value,
    }
    write_text(folder / f"{plan.training_id}.html", page)
    write_text(folder / f"{plan.training_id}.json", json.dumps(summary))
    with warehouse.transaction(settings) as connection:  # one index at a time, so the last one has all pages
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('training report', 0))"))
        write_text(folder / "index.html", render(settings, "trainings.html", trainings=_summaries(folder)))
    return Reported(report=folder / f"{plan.training_id}.html")


def _features(settings: Settings, evaluated: Evaluated, folder: Path, parts: Split, bundle: Bundle) -> dict[str, Any]:
    """Return the features, the most important first, and the scale that their charts share."""
    train = read_weeks(folder, parts.train)
    profile = Profile.model_validate_json(bundle.read(evaluated.bundle, PROFILE_FILE))
    scorer = Scorer.load(evaluated.bundle, evaluated.bundle_digest, threshold=settings.model.threshold)
    falls = importance(scorer, read_weeks(folder, parts.test), settings.model.seed)
    features = sorted(explore(settings, train, profile), key=lambda feature: -falls[feature.name])
    base_rate = sum(week.satisfied for week in parts.train) / train.num_rows
    distances = [
        abs(each.satisfied - base_rate)
        for feature in features
        for each in feature.bins
        if each.satisfied is not None and each.rows >= FEWEST_ROWS_FRACTION * train.num_rows
    ]
    return {
        "features": features,
        "falls": falls,
        "base_rate": base_rate,
        "reach": max([0.05, *distances]),
    }


def _summaries(folder: Path) -> list[dict[str, Any]]:
    """Return the summaries of all pages in `folder`, the newest version first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda summary: (-int(summary["version"]), summary["training_id"]))
