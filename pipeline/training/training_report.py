"""Report, after a version is registered: how it came about and how good it is, as one page for people.

The page shows what stands in the training's folder and in the sealed bundle, and computes nothing that decides: the
gate and the card read the same evaluation. It lies beside the weekly reports, as `site/training/<training_id>.html`,
with an index of all trainings. The entry point is `training_report`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pipeline import warehouse
from pipeline.files import write_text
from pipeline.handoffs import Evaluated, Registered, Reported, TrainingPlan, TrainingSet
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import Bundle, open_bundle
from pipeline.models.evaluation_metrics import Estimate
from pipeline.models.profile import PROFILE_FILE, Profile
from pipeline.models.scorer import Scorer
from pipeline.reporting.rendering import render
from pipeline.settings import Settings
from pipeline.training.evaluation.exploration import Exploration, explore
from pipeline.training.evaluation.importance import importance
from pipeline.training.evaluation.measures import EVALUATION_FILE, Evaluation
from pipeline.training.evaluation.model_card import CARD_FILE
from pipeline.training.pipelines.families import HANDLING
from pipeline.training.search.trials import TRIALS_FILE, Trials
from pipeline.training.training_set import Split, read_weeks, split

Facts = dict[str, Any]

MOST_GROUPS = 24
"""So many products, and so many values of each segment, are shown, the largest ones."""


def training_report(
    settings: Settings, plan: TrainingPlan, training_set: TrainingSet, evaluated: Evaluated, registered: Registered
) -> Reported:
    """Write the training's page and the index of all trainings.

    Raises
    ------
    ConservationError, ModelError
        If a file of the training set or of the bundle is not what was written.
    """
    manifest = TrainingSetManifest.read(training_set.manifest)
    bundle = open_bundle(evaluated.bundle, evaluated.bundle_digest)
    evaluation = Evaluation.model_validate_json(bundle.read(evaluated.bundle, EVALUATION_FILE))
    parts = split(settings, manifest)
    folder = settings.site / "training"
    facts = {
        "plan": plan,
        "model": settings.model.name,
        "registered": registered,
        "manifest": manifest,
        "bundle": bundle,
        "bundle_digest": evaluated.bundle_digest,
        "card": bundle.read(evaluated.bundle, CARD_FILE).decode(),
        "evaluation": evaluation,
        "verdict": _against_champion(evaluation),
        "groups": _groups(evaluation),
        "parts": [("train", parts.train), ("validation", parts.validation), ("test", parts.test)],
        "cleaning": _cleaning(manifest, parts, bundle),
        "trials": Trials.model_validate_json(bundle.read(evaluated.bundle, TRIALS_FILE)),
        **_features(settings, evaluated, training_set.manifest.parent, parts, bundle),
        "notices": _notices(manifest, evaluation),
    }
    write_text(folder / f"{plan.training_id}.html", render(settings, "training.html", **facts))
    write_text(folder / f"{plan.training_id}.json", json.dumps(_summary(plan, registered, evaluation)))
    with _turn(settings):
        write_text(folder / "index.html", render(settings, "trainings.html", trainings=_summaries(folder)))
    return Reported(report=folder / f"{plan.training_id}.html")


@contextmanager
def _turn(settings: Settings) -> Iterator[None]:
    """One index at a time: who writes later has seen the pages of whoever wrote before."""
    with warehouse.transaction(settings) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('training report', 0))"))
        yield


def _against_champion(evaluation: Evaluation) -> str:
    """Return how the version compares with the champion, in a sentence."""
    champion = evaluation.champion
    if champion is None:
        return "There was no champion to compare it with."
    if champion.refusal:
        return f"It could not be compared with the champion, version {champion.version}: {champion.refusal}"
    difference = champion.differences["roc_auc"]
    if difference.low > 0:
        word = "better than"
    elif difference.high < 0:
        word = "worse than"
    else:
        word = "not to be told, beyond chance, from"
    return f"On the same rows its ranking is {word} that of the champion, version {champion.version}."


def _groups(evaluation: Evaluation) -> list[tuple[str, list[Any], int]]:
    """Return, for the products and each segment, the largest groups and how many are not among them."""
    kinds = dict.fromkeys(group.by for group in evaluation.groups)
    by_kind = {
        kind: sorted((group for group in evaluation.groups if group.by == kind), key=lambda group: -group.rows)
        for kind in kinds
    }
    return [(kind, groups[:MOST_GROUPS], len(groups[MOST_GROUPS:])) for kind, groups in by_kind.items()]


def _cleaning(manifest: TrainingSetManifest, parts: Split, bundle: Bundle) -> Facts:
    """Return what became of rows, labels and columns, so that the numbers add up."""
    known = {feature.name for feature in bundle.features}
    reasons: dict[str, int] = {}
    for week in manifest.cleaning:
        for reason, rows in week.quarantined.items():
            reasons[reason] = reasons.get(reason, 0) + rows
    names = ("feature_rows", "quarantined_rows", "unlabelled_rows", "rows", "labels", "labels_without_row")
    sums = {name: sum(getattr(week, name) for week in manifest.cleaning) for name in names}
    return {
        **sums,
        "labels_of_quarantined": sum(week.labels_of_quarantined for week in manifest.cleaning),
        "labels_elsewhere": manifest.labels.known - sums["labels"] if manifest.labels else 0,
        "reasons": sorted(reasons.items(), key=lambda item: -item[1]),
        "parts": [sum(week.rows for week in part) for part in (parts.train, parts.validation, parts.test)],
        "info": [column.name for column in manifest.columns if column.kind == "info"],
        "dropped": [column.name for column in manifest.columns if column.kind != "info" and column.name not in known],
        "handling": HANDLING.get(str(bundle.parameters.get("family"))),
        "failures": [(week.week, failure) for week in manifest.cleaning for failure in week.failures],
    }


def _features(settings: Settings, evaluated: Evaluated, folder: Path, parts: Split, bundle: Bundle) -> Facts:
    """Return the features, the most important first, and the span of their shares of satisfied subjects."""
    train = read_weeks(folder, parts.train)
    known = Profile.model_validate_json(bundle.read(evaluated.bundle, PROFILE_FILE))
    scorer = Scorer.load(evaluated.bundle, evaluated.bundle_digest, threshold=settings.model.threshold)
    falls = importance(scorer, read_weeks(folder, parts.test), settings.model.seed)
    explored = sorted(explore(settings, train, known), key=lambda feature: -falls[feature.name])
    base_rate = sum(week.satisfied for week in parts.train) / train.num_rows
    return {
        "features": explored,
        "falls": falls,
        "base_rate": base_rate,
        "reach": max([0.05, *(abs(share - base_rate) for share in _shares(explored, train.num_rows))]),
        "absent": sum(feature.absent for feature in explored),
        "values": train.num_rows * len(explored),
        "outliers": sum(feature.outliers for feature in explored),
    }


def _shares(explored: list[Exploration], rows: int) -> list[float]:
    """Return the shares of satisfied subjects that rest on at least one row in a hundred."""
    bins = [each for feature in explored for each in feature.bins]
    return [each.satisfied for each in bins if each.satisfied is not None and each.rows >= rows / 100]


def _notices(manifest: TrainingSetManifest, evaluation: Evaluation) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    notices = []
    timeless = [f"“{name}”" for name, source in manifest.sources.items() if source.timeless]
    if timeless:
        notices.append(
            f"{', '.join(timeless)} {'declares' if len(timeless) == 1 else 'declare'} no times: what became known in"
            " such a source later could not be hidden from the past weeks."
        )
    failed = [week.week for week in manifest.cleaning if week.failures]
    if failed:
        notices.append(
            f"The weekly run would have stopped at the features of {', '.join(failed)}; their rows train all the same."
        )
    if evaluation.champion and evaluation.champion.knows_weeks:
        weeks = ", ".join(evaluation.champion.knows_weeks)
        notices.append(f"The champion was trained or calibrated on the test weeks {weeks}, so it is flattered there.")
    return notices


def _summary(plan: TrainingPlan, registered: Registered, evaluation: Evaluation) -> Facts:
    measured: dict[str, Estimate] = evaluation.overall
    return {
        "training_id": plan.training_id,
        "as_of": plan.as_of,
        "version": registered.version,
        "reason": registered.reason,
        "rows": evaluation.rows,
        "base_rate": evaluation.base_rate,
        "roc_auc": measured["roc_auc"].model_dump(),
        "calibration_error": measured["calibration_error"].value,
    }


def _summaries(folder: Path) -> list[Facts]:
    """Return what the pages in `folder` say of themselves, the newest version first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda summary: (-int(summary["version"]), summary["training_id"]))
