"""A case of the corpus, its two kinds of outcome, and the lines that cases add to the company's files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.hostile.company import EVENTS, WEEK
from tests.hostile.damage import Damage

MONDAY = WEEK.monday


@dataclass(frozen=True)
class Refused:
    """Nothing is published, and the message says this."""

    says: str
    after: str = "ingest"
    """The stage that refuses the week."""


@dataclass(frozen=True)
class Published:
    """The week is as if undamaged files had come, except for the subjects named here."""

    rejects: int = 0
    quarantined: int = 0
    says: str = ""
    """The reason of the rejects or of the quarantine."""
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By customer, the `info` of a further subject."""


@dataclass(frozen=True)
class Case:
    """One hostile feed."""

    name: str
    damage: Damage
    outcome: Refused | Published
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further settings, as `BAROMETER__…` values."""
    writer: str = ""
    """The file that grows while the week is run."""
    powerless: bool = False
    """Whether the command runs as a user whom file permissions bind."""


def event(time: str = f"{MONDAY} 10:00:00", amount: str = "1.00", customer: str = "c0000", kind: str = "a") -> str:
    """Return a line of the events."""
    return f"{customer},p0,{time},{amount},{kind}"


def visit(customer: str = '"c0000"', pages: str = "1") -> str:
    """Return a line of the visits."""
    time = f'"{MONDAY}T10:00:00Z"'
    return f'{{"customer_id": {customer}, "product_id": "p0", "visited_at": {time}, "pages": {pages}}}'


def beyond_budget(lines_of: str = EVENTS) -> str:
    """Return the message about too many rejects in a file."""
    source = "events" if lines_of == EVENTS else "visits"
    return f"Source {source} has … new rejects among … lines, for example {lines_of} line …"
