"""The model card: what a version is for, what it was made from, how good it is, and where its limits are.

It is written into the bundle as `model_card.md` before the bundle is sealed. Entry points:
`render_card`, and `cleaning_summary`, which the training report shows too.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.manifests import TrainingSetManifest, WeekCleaning
from pipeline.models.bundle import Bundle
from pipeline.reporting.rendering import render
from pipeline.settings import Settings
from pipeline.training.evaluation.measures import Evaluation
from pipeline.training.handoffs import TrainingPlan
from pipeline.training.pipelines.families import HANDLING
from pipeline.training.training_set import split

CARD_FILE = "model_card.md"


def render_card(
    settings: Settings,
    plan: TrainingPlan,
    manifest: TrainingSetManifest,
    facts: Mapping[str, Any],
    evaluation: Evaluation,
) -> str:
    """Return the card as Markdown; `facts` are the fields of `bundle.json`, as `seal` takes them."""
    bundle = Bundle.model_validate({**facts, "files": {}})
    return render(
        settings,
        "model_card.md",
        model=settings.model.name,
        threshold=settings.model.threshold,
        plan=plan,
        manifest=manifest,
        bundle=bundle,
        evaluation=evaluation,
        parts=split(settings, manifest).by_name,
        cleaning=cleaning_summary(manifest, bundle),
    )


def cleaning_summary(manifest: TrainingSetManifest, bundle: Bundle) -> dict[str, Any]:
    """Return what became of all rows, labels and columns; the numbers add up."""
    counts = [name for name, field in WeekCleaning.model_fields.items() if field.annotation is int]
    sums = {name: sum(getattr(week, name) for week in manifest.cleaning) for name in counts}
    reasons: Counter[str] = Counter()
    for week in manifest.cleaning:
        reasons.update(week.quarantined)
    known = {feature.name for feature in bundle.features}
    return {
        **sums,
        "labels_elsewhere": manifest.labels.known - sums["labels"] if manifest.labels else 0,
        "reasons": reasons.most_common(),
        "info": [column.name for column in manifest.columns if column.kind == "info"],
        "dropped": [column.name for column in manifest.columns if column.kind != "info" and column.name not in known],
        "handling": HANDLING.get(str(bundle.parameters.get("family"))),
        "failures": [(week.week, failure) for week in manifest.cleaning for failure in week.failures],
    }
