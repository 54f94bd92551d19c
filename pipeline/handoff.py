"""The base of the handoffs: what one task hands to the next, as JSON. Addresses and counts, never data."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Handoff(BaseModel):
    """What a stage hands on."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reported(Handoff):
    """A report for people was written."""

    report: Path
