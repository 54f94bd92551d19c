"""Evaluate, the fourth stage of a training: score the test weeks as the weekly run would, and seal the bundle.

The entry point is `evaluate`.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.code_version import code_version
from pipeline.handoffs import Evaluated, Fitted, TrainingPlan, TrainingSet
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import ONNX_FILE, Feature, seal
from pipeline.models.scorer import Scorer
from pipeline.settings import Settings
from pipeline.training.export import libraries
from pipeline.training.training_set import answers, read_weeks, split

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION_BINS = 15


def evaluate(settings: Settings, plan: TrainingPlan, training_set: TrainingSet, fitted: Fitted) -> Evaluated:
    """Score the test weeks from the ONNX file, and seal the bundle with its metrics."""
    del plan  # the folder is the fitted model's
    facts = json.loads(fitted.facts.read_text(encoding="utf-8"))
    features = [Feature.model_validate(feature) for feature in facts["features"]]
    scorer = Scorer((fitted.model / ONNX_FILE).read_bytes(), features, settings.model.threshold)
    test_weeks = split(settings, TrainingSetManifest.read(training_set.manifest)).test
    test = read_weeks(training_set.manifest.parent, test_weeks)
    satisfaction = np.concatenate([scorer.score(batch).column("satisfaction") for batch in test.to_batches()])
    measured = metrics(answers(test).to_numpy(), satisfaction)
    digest = seal(fitted.model, **facts, metrics=measured, code_version=code_version(), libraries=libraries())
    return Evaluated(bundle=fitted.model, bundle_digest=digest, test_rows=test.num_rows, metrics=measured)


def metrics(labels: "NDArray[Any]", satisfaction: "NDArray[np.float64]") -> dict[str, float]:
    """Return how well `satisfaction` foretold `labels` (0 and 1, both present).

    `base_rate_log_loss` and `base_rate_brier` are what answering everybody with the base rate would give.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    base_rate = np.full(len(labels), labels.mean())
    measured = {
        "roc_auc": roc_auc_score(labels, satisfaction),
        "pr_auc": average_precision_score(labels, satisfaction),
        "log_loss": log_loss(labels, satisfaction),
        "brier": brier_score_loss(labels, satisfaction),
        "calibration_error": calibration_error(labels, satisfaction),
        "base_rate": labels.mean(),
        "base_rate_log_loss": log_loss(labels, base_rate),
        "base_rate_brier": brier_score_loss(labels, base_rate),
        "rows": len(labels),
    }
    return {name: float(value) for name, value in measured.items()}


def calibration_error(labels: "NDArray[Any]", satisfaction: "NDArray[np.float64]") -> float:
    """Return the expected calibration error over bins of equal mass: how far a bin's mean lies from its share.

    Examples
    --------
    >>> calibration_error(np.array([0, 1, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5]))
    0.5
    """
    order = np.argsort(satisfaction, kind="stable")
    bins = np.array_split(order, min(CALIBRATION_BINS, len(order)))
    gaps = [abs(labels[rows].mean() - satisfaction[rows].mean()) * len(rows) for rows in bins]
    return float(sum(gaps) / len(order))
