"""Evaluate, the fifth stage of a training: score the test weeks as the weekly run would, and seal the bundle.

The entry point is `evaluate`.
"""

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.code_version import code_version
from pipeline.errors import ModelError
from pipeline.files import write_text
from pipeline.handoffs import Evaluated, Fitted, TrainingPlan, TrainingSet
from pipeline.manifests import TrainingSetManifest
from pipeline.models import registry
from pipeline.models.bundle import ONNX_FILE, Bundle, Feature, open_bundle, seal
from pipeline.models.evaluation_metrics import metrics
from pipeline.models.histograms import profile
from pipeline.models.profile import PROFILE_FILE
from pipeline.models.scorer import Scorer
from pipeline.settings import Settings
from pipeline.training.evaluation.feature_auc import feature_auc
from pipeline.training.evaluation.measures import (
    EVALUATION_FILE,
    AgainstChampion,
    Evaluation,
    TestRows,
    measured,
    satisfaction_of,
)
from pipeline.training.evaluation.model_card import CARD_FILE, card
from pipeline.training.pipelines.onnx_export import libraries
from pipeline.training.training_set import read_weeks, segments, split

if TYPE_CHECKING:
    from numpy.typing import NDArray


def evaluate(settings: Settings, plan: TrainingPlan, training_set: TrainingSet, fitted: Fitted) -> Evaluated:
    """Score the test weeks from the ONNX file, measure, and seal the bundle with what was found.

    Raises
    ------
    ConfigError
        If a segment is no column of features.sql.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    parts, folder = split(settings, manifest), training_set.manifest.parent
    train, test = read_weeks(folder, parts.train), read_weeks(folder, parts.test)
    facts = json.loads(fitted.facts.read_text(encoding="utf-8"))
    features = [Feature.model_validate(feature) for feature in facts["features"]]
    scorer = Scorer((fitted.model / ONNX_FILE).read_bytes(), features, settings.model.threshold)
    satisfaction = satisfaction_of(scorer, test)
    champion, champions = _champion(settings, test, [week.week for week in parts.test])
    rows = TestRows.of(test, satisfaction, champions, settings.model.seed)
    if champion is not None and champions is not None:
        theirs = TestRows(rows.labels, rows.subjects, champions, None, rows.seed)
        champion = champion.model_copy(update={"overall": theirs.overall(), "differences": rows.against(champions)})
    evaluation = Evaluation(
        weeks=[week.week for week in parts.test],
        champion=champion,
        feature_auc=feature_auc(train, test, features),
        **measured(rows, test, segments(settings, manifest)),
    )
    facts |= {
        "metrics": metrics(rows.labels, satisfaction),
        "code_version": code_version(),
        "libraries": libraries(),
    }
    write_text(fitted.model / EVALUATION_FILE, evaluation.model_dump_json(indent=1))
    # The profile's predictions are of rows that fitting has not seen; on those it has, it is too sure of itself.
    made = profile(settings, train, features, satisfaction)
    write_text(fitted.model / PROFILE_FILE, made.model_dump_json(indent=1))
    write_text(fitted.model / CARD_FILE, card(settings, plan, manifest, facts, evaluation))
    digest = seal(fitted.model, **facts)
    return Evaluated(bundle=fitted.model, bundle_digest=digest, test_rows=test.num_rows, metrics=facts["metrics"])


def _champion(
    settings: Settings, test: pa.Table, weeks: list[str]
) -> tuple[AgainstChampion | None, "NDArray[np.float64] | None"]:
    """Return who the champion is and what it says of the test rows; None where there is none, or it cannot."""
    version = registry.champion(settings)
    if version is None:
        return None, None
    refusal, knows, satisfaction = None, [], None
    try:
        folder, digest = registry.bundle_of(settings, version)
        knows = _known(open_bundle(folder, digest), weeks)
        satisfaction = satisfaction_of(Scorer.load(folder, digest, threshold=settings.model.threshold), test)
    except ModelError as error:  # a broken champion must not keep its successor from being made
        refusal = error.found
    champion = AgainstChampion(version=version, refusal=refusal, knows_weeks=knows, overall={}, differences={})
    return champion, satisfaction


def _known(bundle: Bundle, weeks: list[str]) -> list[str]:
    return sorted({*bundle.training.train_weeks, *bundle.training.validation_weeks} & set(weeks))
