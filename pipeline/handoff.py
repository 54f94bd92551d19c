"""The bases of what is written as JSON: `Facts`, and `Handoff` for what one task hands to the next through XCom."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Immutable fields, of which none is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Handoff(Facts):
    """The result of a stage: paths and counts, never data."""


class Reported(Handoff):
    """A report for people was written."""

    report: Path
