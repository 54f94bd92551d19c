"""Which model versions are in charge, as a source names them: not loaded, not checked.

`sources` finds them out, `loading` checks and loads them, `copies` keeps their files. The entry point is `InCharge`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BarometerError


@dataclass(frozen=True)
class Candidate:
    """A version that a source names."""

    version: str
    digest: str
    """sha256 that its `bundle.json` must have."""
    folder: Path = field(compare=False)
    """Where its files are."""


@dataclass(frozen=True)
class InCharge:
    """The versions that are to be served."""

    name: str
    """The model's name in the registry."""
    threshold: float
    """`likely_satisfied` is satisfaction at or above this."""
    champion: Candidate
    challenger: Candidate | None = None
    """None where routing gives it no part."""
    challenger_error: BarometerError | None = field(default=None, compare=False)
    """Why there is none, though there should be one."""
