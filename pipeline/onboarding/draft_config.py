"""Drafts `pipeline.toml` and the suites from what was found in the files; each guess is marked as a draft.

A part of `pipeline.onboarding.drafts`. The entry points are `config_text` and `suites`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline.onboarding.column_roles import Roles, times
from pipeline.onboarding.guesses import ENOUGH, Column, Guess

HEAD = """\
# DRAFT by `barometer init`, made from the files that it found. No program knows what a column means: read every line,
# correct it, and delete the word DRAFT. The pipeline.toml that comes with Barometer explains all settings. Then run
# barometer config check.

# DRAFT: the company's name, and the time zone of its weeks and of its times without an offset.
company = "Your company"
timezone = "UTC"

[paths]
landing = {landing}
"""
TAIL = """
[model]
# DRAFT: how many past weeks to train on, and after how many weeks the answers are there.
training_weeks = {training_weeks}
maturity_weeks = 2
"""


def config_text(guesses: dict[str, Guess], landing: str, training_weeks: int) -> str:
    """Return the text of `pipeline.toml`."""
    sources = [line for name, guess in guesses.items() for line in ("", "", *_source(name, guess))]
    tail = TAIL.format(training_weeks=training_weeks)
    return HEAD.format(landing=_toml(landing)) + "\n".join([*sources, "", tail])


def _source(name: str, guess: Guess) -> Iterator[str]:
    event_time, later = times(guess)
    yield f"# DRAFT: {_counted(guess.rows, 'row')} looked at."
    if guess.left_out:
        yield f"# Left out, because they are nested, have no name or share one: {', '.join(guess.left_out)}."
    yield f"[sources.{name}]"
    settings = guess.source.model_dump(exclude_defaults=True, exclude={"columns"})
    for key, value in settings.items():
        yield f"{key} = {_toml(value)}"
    if guess.rejects:
        yield f"# DRAFT: {_counted(guess.rejects, 'row')} would be rejects; look at them before you accept them."
        yield f"reject_fraction = {1 - ENOUGH:.2f}"
    if event_time is None:
        yield "# DRAFT: no column looks like a time, so every week sees these rows as they are today."
    else:
        others = [column.name for column in guess.of_types("date", "timestamp") if column.name != event_time]
        yield f"# DRAFT: the time of a row's event; the other times: {', '.join(others) or 'none'}."
        yield f"event_time = {_toml(event_time)}"
    yield f"\n[sources.{name}.columns]"
    for column in guess.columns:
        yield f"{_key(column.name)} = {_declared(column, later)}"


def _declared(column: Column, later: list[str]) -> str:
    if column.name in later:
        known_at = f'{{ type = "{column.type}", known_at = {_toml(column.name)} }}'
        return f"{known_at}  # DRAFT: empty until then, so it is hidden before"
    seen = f"{column.low} to {column.high}" if column.low is not None else _counted(column.distinct, "value")
    return f'"{column.type}"  # {seen if column.values else "always empty"}'


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """Return a text, a number or a list as TOML, whose strings are like JSON's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def suites(guesses: dict[str, Guess], found: Roles) -> dict[str, str]:
    """Return the texts of the drafted suites, by their paths below `expectations/`."""
    keys = [key for key in (found.customer, found.product) if key]
    texts = {f"sources/{name}.json": _suite(name, _about_source(guess, keys)) for name, guess in guesses.items()}
    return texts | {
        "features.json": _suite("features", FEATURES),
        "predictions.json": _suite("predictions", PREDICTIONS),
    }


FEATURES = [
    ("expect_compound_columns_to_be_unique", {"column_list": ["customer_id", "product_id"]}, "critical", ""),
    ("expect_table_row_count_to_be_between", {"min_value": 1}, "critical", "A week without subjects is a broken feed."),
]
PREDICTIONS = [
    ("expect_column_values_to_be_between", {"column": "satisfaction", "min_value": 0, "max_value": 1}, "critical", "")
]
Expectation = tuple[str, dict[str, Any], str, str]


def _about_source(guess: Guess, keys: list[str]) -> Iterator[Expectation]:
    bounds: dict[str, Any] = {"min_value": 1}
    severity, note = "critical", "DRAFT"
    if times(guess)[0]:
        bounds = {f"{end}_value": {"$PARAMETER": f"recent_rows * {by}"} for end, by in (("min", 0.5), ("max", 2))}
        severity = "critical" if guess.source.lookback_weeks else "warning"
        note = "DRAFT: neither half empty nor doubled, compared with the median of the weeks before."
    yield "expect_table_row_count_to_be_between", bounds, severity, note
    for column in guess.columns:
        if column.name in keys:
            yield "expect_column_values_to_not_be_null", {"column": column.name, "mostly": 0.99}, "critical", "DRAFT"
        elif column.type.startswith(("integer", "number", "decimal")) and column.values:
            seen = {"min_value": float(column.low), "max_value": float(column.high), "mostly": 0.99}
            note = "DRAFT: the range that was observed; which values would be wrong?"
            yield "expect_column_values_to_be_between", {"column": column.name, **seen}, "warning", note


def _suite(name: str, expectations: Any) -> str:
    lines = [
        json.dumps({"type": kind, "kwargs": kwargs, "severity": severity, "notes": notes}, ensure_ascii=False)
        for kind, kwargs, severity, notes in expectations
    ]
    return f'{{\n "name": {json.dumps(name)},\n "expectations": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
