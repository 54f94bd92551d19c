"""A challenger beside a plan's champion, for the tests of what routing does."""

from pathlib import Path
from typing import Any

from pipeline.models.pinned import PinnedVersion, Routing
from pipeline.weekly.handoffs import Plan

CHALLENGER = "9"
"""Its version."""


def with_challenger(plan: Plan, mode: str, bundle: tuple[Path, str] = (Path("no bundle"), ""), **facts: Any) -> Plan:
    """The plan with a challenger in this mode, half of the customers its own."""
    challenger = PinnedVersion(
        model_version=CHALLENGER, trained_after_cutoff=True, bundle=bundle[0], bundle_digest=bundle[1]
    )
    routing = Routing.model_validate({"mode": mode, "fraction": 0.5, "challenger": challenger, "reason": "", **facts})
    return plan.model_copy(update={"routing": routing})
