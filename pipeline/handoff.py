"""The base of what one task hands to the next through XCom, as JSON: paths and counts, never data."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Handoff(BaseModel):
    """The result of a stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reported(Handoff):
    """A report for people was written."""

    report: Path
