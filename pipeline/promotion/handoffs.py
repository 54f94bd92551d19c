"""What one stage of a promotion hands to the next."""

from typing import Literal

from pipeline.handoff import Handoff


class Gated(Handoff):
    """A promotion that the gate lets pass."""

    promotion_id: int
    """Its entry in `model_promotions`."""
    version: str
    role: Literal["champion", "challenger"]
    from_week: str
    asked_by: str
    reason: str
    checks: list[str]
    """Each check's name and its outcome, in words."""


class Approved(Handoff):
    """Whether the promotion is to be carried out."""

    approved: bool
    decided_by: str
    """The approver; who asked, where no approval is configured."""
    comment: str = ""


class Promoted(Handoff):
    """A promotion that was carried out."""

    promotion_id: int
    version: str
    role: str
    from_week: str
    from_version: str | None
