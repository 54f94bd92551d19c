"""What `barometer config check` finds, in plain words: problems and remarks."""

from typing import Literal

from pipeline.errors import BarometerError
from pipeline.handoff import Facts


class Finding(Facts):
    """Something that is missing or odd."""

    severity: Literal["problem", "remark"]
    """A problem stops a run or spoils its numbers; a remark is worth a look."""
    about: str
    """The source, file or setting."""
    found: str
    do: str = ""


def problem(about: str, found: str, do: str) -> Finding:
    """Return a finding that must be corrected."""
    return Finding(severity="problem", about=about, found=found, do=do)


def remark(about: str, found: str, do: str = "") -> Finding:
    """Return a finding that is worth a look."""
    return Finding(severity="remark", about=about, found=found, do=do)


def refusal(about: str, error: BarometerError) -> Finding:
    """Return the error that would stop a stage, as a problem."""
    found = error.found.removeprefix(f"Source {about.removeprefix('source ')}: ")
    return problem(about, f"{found} Expected: {error.expected}", error.do)
