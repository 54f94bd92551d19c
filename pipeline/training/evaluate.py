"""Evaluate, the fifth stage of a training: score the test weeks as the weekly run would, and seal the bundle.

The entry point is `evaluate`.
"""

import json

from pipeline.code_version import code_version
from pipeline.files import write_text
from pipeline.manifests import TrainingSetManifest
from pipeline.models import registry
from pipeline.models.bundle import Feature, seal
from pipeline.models.evaluation_metrics import metrics
from pipeline.models.histograms import profile
from pipeline.models.profile import PROFILE_FILE
from pipeline.models.scoring.scorer import Scorer, engine_in
from pipeline.settings import Settings
from pipeline.training.evaluation.feature_auc import feature_auc
from pipeline.training.evaluation.measures import (
    EVALUATION_FILE,
    ScoredRows,
    measure,
    score_rows,
    score_with_champion,
)
from pipeline.training.evaluation.model_card import CARD_FILE, render_card
from pipeline.training.handoffs import Evaluated, Fitted, TrainingPlan, TrainingSet
from pipeline.training.pipelines.onnx_export import libraries
from pipeline.training.training_set import read_weeks, segments, split


def evaluate(settings: Settings, plan: TrainingPlan, training_set: TrainingSet, fitted: Fitted) -> Evaluated:
    """Score the test weeks as the weekly run would, write evaluation, profile and model card, and seal the bundle.

    Raises
    ------
    ConfigError
        If a segment is no column of features.sql.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    parts, folder = split(settings, manifest), training_set.manifest.parent
    train, test = read_weeks(folder, parts.train), read_weeks(folder, parts.test)
    test_weeks = [week.week for week in parts.test]
    facts = json.loads(fitted.facts.read_text(encoding="utf-8"))
    features = [Feature.model_validate(feature) for feature in facts["features"]]
    scorer = Scorer(engine_in(fitted.model, features), settings.model.threshold)
    satisfaction = score_rows(scorer, test)
    champion, champions = score_with_champion(settings, registry.champion(settings), test, test_weeks)
    rows = ScoredRows.of(test, satisfaction, champions, settings.model.seed)
    evaluation = measure(
        rows,
        test,
        segments(settings, manifest),
        weeks=test_weeks,
        champion=champion,
        feature_auc=feature_auc(train, test, features),
    )
    facts |= {
        "metrics": metrics(rows.labels, satisfaction),
        "code_version": code_version(),
        "libraries": libraries(),
    }
    write_text(fitted.model / EVALUATION_FILE, evaluation.model_dump_json(indent=1))
    # The profile's predictions are for rows not used in fitting: a model is too confident on those it was fitted on.
    made = profile(settings, train, features, satisfaction)
    write_text(fitted.model / PROFILE_FILE, made.model_dump_json(indent=1))
    write_text(fitted.model / CARD_FILE, render_card(settings, plan, manifest, facts, evaluation))
    digest = seal(fitted.model, **facts)
    return Evaluated(bundle=fitted.model, bundle_digest=digest, test_rows=test.num_rows, metrics=facts["metrics"])
