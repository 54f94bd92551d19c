"""Drafts `pipeline.toml`, the suites and the SQL from what was found in the files; each guess is marked as a draft.

A part of `pipeline.onboarding.drafts`. The entry points are `config_text`, `suites`, `features_text` and `labels_text`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from pipeline.duck import quoted
from pipeline.onboarding.column_roles import Roles, times
from pipeline.onboarding.feeds import plain_name
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
FEATURES = [
    ("expect_compound_columns_to_be_unique", {"column_list": ["customer_id", "product_id"]}, "critical", ""),
    ("expect_table_row_count_to_be_between", {"min_value": 1}, "critical", "A week without subjects is a broken feed."),
]
PREDICTIONS = [
    ("expect_column_values_to_be_between", {"column": "satisfaction", "min_value": 0, "max_value": 1}, "critical", "")
]
Expectation = tuple[str, dict[str, Any], str, str]
MOST_FEATURES = 6
FEATURES_SQL = """\
-- DRAFT by `barometer init`: one row for each customer and product in {source} by the week's end.
-- The week lies between the instants $week_start and $week_end; what was not known by $week_end is hidden already.
-- Sum only integers and decimals: the sum of floats depends on the order of the rows.
SELECT
    CAST({customer} AS VARCHAR) AS customer_id,
    CAST({product} AS VARCHAR) AS product_id,
    count(*) AS rows_so_far,
    count(*) FILTER (WHERE {time} >= $week_start - INTERVAL 3 WEEKS) AS rows_in_four_weeks,
    date_diff('day', max({time}), $week_end) AS days_since_last{columns}
FROM {source}
WHERE {customer} IS NOT NULL AND {product} IS NOT NULL
GROUP BY ALL
"""
LABELS_SQL = """\
-- DRAFT by `barometer init`: who was satisfied with which week, and when the company knew.
-- An answer of {least} or more means satisfied. It is about the week before it was given. Of several answers in a
-- week, the last one counts.
SELECT
    CAST({customer} AS VARCHAR) AS customer_id,
    CAST({product} AS VARCHAR) AS product_id,
    CAST(date_trunc('week', {time}) AS DATE) - 7 AS week,
    arg_max({answer}, ({time}, {answer})) >= {least} AS satisfied,
    max({time}) AS observed_at
FROM {source}
WHERE {answer} IS NOT NULL AND {customer} IS NOT NULL AND {product} IS NOT NULL
GROUP BY ALL
"""
NO_FEATURES_SQL = """\
-- DRAFT by `barometer init`: no source with times has a column for the customer and one for the product. Join the
-- sources that have them, and return one row for each customer and product: customer_id, product_id and the features.
SELECT
    NULL::VARCHAR AS customer_id,
    NULL::VARCHAR AS product_id,
    0 AS feature
WHERE false
"""
NO_LABELS_SQL = """\
-- DRAFT by `barometer init`: nothing in the files looks like an answer. Return one row for each customer, product and
-- week (its Monday) whose satisfaction is known: satisfied (0 or 1), and observed_at, when the company knew it.
SELECT
    NULL::VARCHAR AS customer_id,
    NULL::VARCHAR AS product_id,
    NULL::DATE AS week,
    NULL::BOOLEAN AS satisfied,
    NULL::TIMESTAMPTZ AS observed_at
WHERE false
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


def features_text(guesses: dict[str, Guess], found: Roles) -> str:
    """Return the text of features.sql."""
    if found.events is None or found.customer is None or found.product is None:
        return NO_FEATURES_SQL
    guess = guesses[found.events]
    time = times(guess)[0]
    numbers = [
        column.name
        for column in guess.of_types("integer", "decimal", "boolean")
        if column.name not in {found.customer, found.product}
    ][:MOST_FEATURES]
    columns = "".join(
        f",\n    avg(CAST({_named(name)} AS DECIMAL(18, 4))) AS average_{plain_name(name)}" for name in numbers
    )
    return FEATURES_SQL.format(
        source=_named(found.events),
        customer=_named(found.customer),
        product=_named(found.product),
        time=_named(time or ""),
        columns=columns,
    )


def labels_text(guesses: dict[str, Guess], found: Roles) -> str:
    """Return the text of labels.sql."""
    if found.answers is None or found.answer is None or found.customer is None or found.product is None:
        return NO_LABELS_SQL
    low, high = float(found.answer.low), float(found.answer.high)
    least = high if high - low <= 1 else round(low + 0.7 * (high - low))
    return LABELS_SQL.format(
        source=_named(found.answers),
        customer=_named(found.customer),
        product=_named(found.product),
        time=_named(times(guesses[found.answers])[0] or ""),
        answer=_named(found.answer.name),
        least=f"{least:g}",
    )


def _named(name: str) -> str:
    """Return a name for SQL, in quotes only if it needs them."""
    token = duckdb.tokenize(name)
    is_plain = len(token) == 1 and token[0][1] == duckdb.token_type.identifier and name.isascii() and name.islower()
    return name if is_plain else quoted(name)
