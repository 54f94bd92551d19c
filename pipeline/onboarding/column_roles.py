"""Guesses the roles of sources and columns (times, keys, the answer), for drafts that people read.

A part of `pipeline.onboarding.drafts`. The entry points are `times` and `roles`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.onboarding.guesses import Column, Guess

CUSTOMER = re.compile(
    r"cust|client|kund|member|mitglied|user|account|patron|subscri|guest|patient|student|buyer", re.IGNORECASE
)
PRODUCT = re.compile(r"prod|item|sku|arti[ck]|title|categ|service|plan|course|kurs|brand", re.IGNORECASE)
ANSWER = re.compile(r"rating|score|stars|answer|satisf|review|grade|note|bewert|nps|opinion|feedback", re.IGNORECASE)
HIGHEST_ANSWER = 10


@dataclass(frozen=True)
class Roles:
    """The sources and columns for the drafted SQL; None if nothing looks like it."""

    customer: str | None
    product: str | None
    events: str | None
    """The source of the subjects."""
    answers: str | None
    answer: Column | None


def times(guess: Guess) -> tuple[str | None, list[str]]:
    """Return the column that may be the event's time, and the columns that become known later than their row.

    The event's time is the last of the times that every row has. By then all the others have passed, so nothing is seen
    too early.
    """
    columns = guess.of_types("timestamp", "date")
    whole = [column for column in columns if column.values == guess.rows - guess.rejects] or columns
    stamps = [column for column in whole if column.type == "timestamp"] or whole
    if not stamps:
        return None, []
    event = max(stamps, key=lambda column: column.mean or 0)
    later = [column.name for column in columns if column.values < event.values and column.name != event.name]
    return event.name, later


def roles(guesses: dict[str, Guess]) -> Roles:
    """Return the sources and columns for the drafted SQL."""
    customer, product = _keys(guesses.values())
    whole = {
        name: guess
        for name, guess in guesses.items()
        if times(guess)[0] and {customer, product} <= {column.name for column in guess.columns}
    }
    answers = {name: column for name, guess in whole.items() if (column := _answer(name, guess))}
    by_rows = sorted(whole, key=lambda name: whole[name].rows * (whole[name].source.lookback_weeks or 1), reverse=True)
    events = next((name for name in by_rows if name not in answers), by_rows[0] if by_rows else None)
    asked = next((name for name in answers if ANSWER.search(f"{name} {answers[name].name}")), next(iter(answers), None))
    return Roles(customer, product, events, asked, answers[asked] if asked else None)


def _keys(guesses: Iterable[Guess]) -> tuple[str | None, str | None]:
    """Return the customer's and the product's column: by name, else those that most sources share."""
    columns = [column for guess in guesses for column in guess.of_types("text", "integer")]
    shared = Counter(column.name for column in columns)
    distinct = {name: max(column.distinct for column in columns if column.name == name) for name in shared}
    ranked = sorted(shared, key=lambda name: (shared[name], distinct[name]), reverse=True)
    customer = next((name for name in ranked if CUSTOMER.search(name)), None)
    product = next((name for name in ranked if PRODUCT.search(name) and name != customer), None)
    others = [name for name in ranked if name not in {customer, product} and shared[name] > 1]
    if customer is None and others:
        customer = max(others[:2], key=lambda name: distinct[name])
    if product is None:
        product = next((name for name in others if name != customer), None)
    return customer, product


def _answer(name: str, guess: Guess) -> Column | None:
    """Return the column of the answer: one with such a name, or a scale that is its source's only number."""
    numbers = guess.of_types("integer", "decimal", "number")
    candidates = [
        column
        for column in numbers
        if 1 < column.distinct <= HIGHEST_ANSWER + 1 and column.low >= 0 and column.high <= HIGHEST_ANSWER
    ]
    named = [column for column in candidates if ANSWER.search(column.name)]
    if not named and (ANSWER.search(name) or len(numbers) == 1):
        named = candidates
    return named[0] if named else None
