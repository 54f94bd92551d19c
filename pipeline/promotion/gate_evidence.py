"""What the gate judges by: the candidate's test weeks, scored by the candidate and by the champion.

The training kept these rows, and neither model has learned from them unless `compared_to` says so.
Their digests are checked against the version's own. The entry point is `collect_evidence`.
"""

import json
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import ConservationError
from pipeline.manifests import TrainingSetManifest
from pipeline.models import registry
from pipeline.models.bundle import Bundle, open_bundle
from pipeline.models.evaluation_metrics import metrics
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings
from pipeline.training.evaluation.measures import (
    EVALUATION_FILE,
    AgainstChampion,
    ScoredRows,
    score_rows,
    score_with_champion,
)
from pipeline.training.training_set import read_weeks


@dataclass(frozen=True)
class Evidence:
    """The test rows of a version, and what it and the champion predict for them."""

    bundle: Bundle
    scorer: Scorer
    manifest: TrainingSetManifest
    table: pa.Table
    rows: ScoredRows
    metrics: dict[str, float]
    """The version's metrics on the rows."""
    feature_auc: dict[str, float]
    """ROC AUC of each feature alone, from the version's evaluation."""
    compared_to: str
    """What the version is compared to, in words."""


def collect_evidence(settings: Settings, version: str, champion: str | None) -> Evidence:
    """Score the version's test weeks.

    Raises
    ------
    ModelError
        If the version does not pass its own checks.
    ConservationError
        If its test rows are gone, or are not those it was evaluated on.
    """
    folder, digest = registry.bundle_of(settings, version)
    bundle = open_bundle(folder, digest)
    manifest, table = _test_rows(settings, version, bundle)
    scorer = Scorer.load(folder, digest, threshold=settings.model.threshold)
    against, champions = score_with_champion(settings, champion, table, bundle.training.test_weeks)
    rows = ScoredRows.of(table, score_rows(scorer, table), champions, settings.model.seed)
    return Evidence(
        bundle=bundle,
        scorer=scorer,
        manifest=manifest,
        table=table,
        rows=rows,
        metrics=metrics(rows.labels, rows.satisfaction),
        feature_auc=json.loads(bundle.read(folder, EVALUATION_FILE))["feature_auc"],
        compared_to=_compared_to(against),
    )


def _test_rows(settings: Settings, version: str, bundle: Bundle) -> tuple[TrainingSetManifest, pa.Table]:
    training = registry.tags_of(settings, version).get(registry.TRAINING_TAG, "?")
    path = settings.home / "training" / training / "set" / "manifest.json"
    manifest = TrainingSetManifest.read(path)
    if manifest.digest != bundle.training.digest:
        raise ConservationError(
            f"{path} is not the training set of version {version} (sha256 {manifest.digest[:12]}…).",
            f"sha256 {bundle.training.digest[:12]}…, as the version says.",
            "restore the folder from a backup, or train a new version: barometer train.",
        )
    weeks = [week for week in manifest.weeks if week.week in bundle.training.test_weeks]
    return manifest, read_weeks(path.parent, weeks)


def _compared_to(champion: AgainstChampion | None) -> str:
    if champion is None:
        return "the base rate, because there is no champion"
    name = f"the champion, version {champion.version}"
    if champion.refusal:
        return f"the base rate, because {name}, cannot score these rows: {champion.refusal}"
    if champion.knows_weeks:
        return f"{name}, which learned from {len(champion.knows_weeks)} of these weeks and so looks better than it is"
    return name
