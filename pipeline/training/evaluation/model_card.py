"""The model card: what a version is for, what it was made from, how good it is, and where its limits are, for people.

Written into the bundle as `model_card.md` before it is sealed. The entry point is `card`.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.handoffs import TrainingPlan
from pipeline.manifests import TrainingSetManifest
from pipeline.models.bundle import Bundle
from pipeline.reporting.rendering import render
from pipeline.settings import Settings
from pipeline.training.evaluation.measures import Evaluation
from pipeline.training.pipelines.families import HANDLING
from pipeline.training.training_set import split

CARD_FILE = "model_card.md"
MOST_GROUPS = 40
"""So many products and segments stand on the card, the largest ones."""


def card(
    settings: Settings,
    plan: TrainingPlan,
    manifest: TrainingSetManifest,
    facts: Mapping[str, Any],
    evaluation: Evaluation,
) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    settings, plan, manifest
        The training.
    facts
        What `bundle.json` will say, as `seal` takes it.
    evaluation
        On the test weeks.
    """
    bundle = Bundle.model_validate({**facts, "files": {}})
    parts = split(settings, manifest)
    known = {feature.name for feature in bundle.features}
    return render(
        settings,
        "model_card.md",
        model=settings.model.name,
        threshold=settings.model.threshold,
        plan=plan,
        manifest=manifest,
        bundle=bundle,
        evaluation=evaluation,
        parts=[("train", parts.train), ("validation", parts.validation), ("test", parts.test)],
        rows_seen=sum(week.feature_rows for week in manifest.cleaning),
        quarantined=sum(week.quarantined_rows for week in manifest.cleaning),
        unlabelled=sum(week.unlabelled_rows for week in manifest.cleaning),
        trained=sum(week.rows for week in manifest.weeks),
        dropped=[c.name for c in manifest.columns if c.kind != "info" and c.name not in known],
        handling=HANDLING.get(str(bundle.parameters.get("family"))),
        groups=sorted(evaluation.groups, key=lambda group: -group.rows)[:MOST_GROUPS],
        timeless=[name for name, source in manifest.sources.items() if source.timeless],
    )
