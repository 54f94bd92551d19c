"""What one stage of a promotion hands to the next."""

from typing import Literal

from pipeline.handoff import Handoff


class Gated(Handoff):
    """A promotion that passed the gate."""

    promotion_id: int
    """Its entry in `model_promotions`."""
    version: str
    role: Literal["champion", "challenger"]
    from_week: str
    asked_by: str
    reason: str
    checks: list[str]
    """The name and outcome of each check."""


class Approved(Handoff):
    """Whether the promotion may be carried out."""

    approved: bool
    decided_by: str
    """The approver; or who asked for it, if no approval is configured."""
    comment: str = ""


class Promoted(Handoff):
    """A promotion that was carried out."""

    promotion_id: int
    version: str
    role: str
    from_week: str
    from_version: str | None
