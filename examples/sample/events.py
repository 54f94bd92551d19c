"""The events of a week as columns: the rows of the weekly files before they are written.

In all of them `row` is a subscription's index in its chunk, seconds are counted from the start of the feed's first
week, and names are indices into the lists of `company`.
"""

from dataclasses import dataclass

from examples.sample.company import Bools, Floats, Ints


@dataclass(frozen=True)
class Usage:
    """Use of the app in the week; a subscription that did not use it has no row."""

    row: Ints
    minutes: Ints
    sessions: Ints
    crashes: Ints
    last_used: Ints


@dataclass(frozen=True)
class Deliveries:
    """Boxes delivered in the week."""

    row: Ints
    days_late: Ints
    delivered: Ints
    is_damaged: Bools


@dataclass(frozen=True)
class Tickets:
    """Support tickets opened in the week; `resolved` may be in a later one."""

    row: Ints
    topic: Ints
    opened: Ints
    resolved: Ints


@dataclass(frozen=True)
class Answers:
    """Answers about the week, 1 to 5, received in one of the four weeks after it."""

    row: Ints
    answer: Ints
    answered: Ints
    received: Ints


@dataclass(frozen=True)
class LivedWeek:
    """A week of a chunk: its events, and the features and probabilities of the subscriptions active at its end."""

    week: int
    """Counted from the first week of the feed; earlier weeks have only answers."""
    usage: Usage
    deliveries: Deliveries
    tickets: Tickets
    answers: Answers
    active: Ints
    features: dict[str, Floats]
    """The plain features of the active subscriptions, as in `sql/features.sql`; NaN for NULL."""
    probability: Floats
    """The true probability that the active subscription is satisfied."""
