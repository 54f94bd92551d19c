"""What the gate judges by: the candidate's test weeks, scored by the candidate and by the champion.

The rows were kept by the training, outside the reach of both models; their digests are checked against the version's
own. The entry point is `collect_evidence`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ConservationError, ModelError
from pipeline.manifests import TrainingSetManifest
from pipeline.models import registry
from pipeline.models.bundle import Bundle, open_bundle
from pipeline.models.scorer import Scorer
from pipeline.settings import Settings
from pipeline.training.evaluation.measures import EVALUATION_FILE, satisfaction_of
from pipeline.training.training_set import answers, read_weeks


@dataclass(frozen=True)
class Evidence:
    """The test rows of a version, and what it and the champion say of them."""

    bundle: Bundle
    scorer: Scorer
    manifest: TrainingSetManifest
    rows: pa.Table
    labels: NDArray[Any]
    subjects: NDArray[Any]
    """A code for each row; a subject's rows of several weeks share it."""
    satisfaction: NDArray[np.float64]
    feature_auc: dict[str, float]
    """ROC AUC of each feature alone, as the version's evaluation has it."""
    champion: NDArray[np.float64] | None
    """The champion's answers; None when it has none."""
    compared_to: str
    """What the version is compared to, in words."""


def collect_evidence(settings: Settings, version: str, champion: str | None) -> Evidence:
    """Score the version's test weeks.

    Raises
    ------
    ModelError
        If the version does not pass its own checks.
    ConservationError
        If its test rows are gone or are not those it was evaluated on.
    """
    folder, digest = registry.bundle_of(settings, version)
    bundle = open_bundle(folder, digest)
    manifest, rows = _test_rows(settings, version, bundle)
    scorer = Scorer.load(folder, digest, threshold=settings.model.threshold)
    champions, compared_to = _champion_on(settings, champion, rows, bundle)
    subjects = pc.binary_join_element_wise(rows.column("customer_id"), rows.column("product_id"), "\0")
    return Evidence(
        bundle=bundle,
        scorer=scorer,
        manifest=manifest,
        rows=rows,
        labels=answers(rows).to_numpy(),
        subjects=np.unique(subjects.to_numpy(), return_inverse=True)[1],
        satisfaction=satisfaction_of(scorer, rows),
        feature_auc=json.loads(bundle.read(folder, EVALUATION_FILE))["feature_auc"],
        champion=champions,
        compared_to=compared_to,
    )


def _test_rows(settings: Settings, version: str, bundle: Bundle) -> tuple[TrainingSetManifest, pa.Table]:
    training = registry.tags_of(settings, version).get(registry.TRAINING_TAG, "?")
    path: Path = settings.home / "training" / training / "set" / "manifest.json"
    manifest = TrainingSetManifest.read(path)
    if manifest.digest != bundle.training.digest:
        raise ConservationError(
            f"{path} is not the training set of version {version} (sha256 {manifest.digest[:12]}…).",
            f"sha256 {bundle.training.digest[:12]}…, as the version says.",
            "restore the folder from a backup, or train a new version: barometer train.",
        )
    return manifest, read_weeks(
        path.parent, [week for week in manifest.weeks if week.week in bundle.training.test_weeks]
    )


def _champion_on(
    settings: Settings, champion: str | None, rows: pa.Table, candidate: Bundle
) -> tuple[NDArray[np.float64] | None, str]:
    if champion is None:
        return None, "the base rate, because there is no champion"
    try:
        folder, digest = registry.bundle_of(settings, champion)
        known = open_bundle(folder, digest).training
        satisfaction = satisfaction_of(Scorer.load(folder, digest, threshold=settings.model.threshold), rows)
    except ModelError as error:
        return None, f"the base rate, because the champion, version {champion}, cannot score these rows: {error.found}"
    learnt = {*known.train_weeks, *known.validation_weeks} & set(candidate.training.test_weeks)
    flattered = f", which learnt from {len(learnt)} of these weeks and looks the better for it" if learnt else ""
    return satisfaction, f"the champion, version {champion}{flattered}"
