"""Drafts `pipeline.toml`, the suites and the SQL from what was found in the files; each guess is marked as a draft.

The texts are the templates in `pipeline/templates/drafts`. A part of `pipeline.onboarding.drafts`. The entry point is
`draft_texts`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.duck import quoted
from pipeline.onboarding.column_roles import Roles, roles, times
from pipeline.onboarding.feeds import plain_name
from pipeline.onboarding.guesses import ENOUGH, Column, Guess
from pipeline.reporting.filters import counted

FEATURES = [
    ("expect_compound_columns_to_be_unique", {"column_list": ["customer_id", "product_id"]}, "critical", ""),
    ("expect_table_row_count_to_be_between", {"min_value": 1}, "critical", "A week without subjects is a broken feed."),
]
PREDICTIONS = [
    ("expect_column_values_to_be_between", {"column": "satisfaction", "min_value": 0, "max_value": 1}, "critical", "")
]
Expectation = tuple[str, dict[str, Any], str, str]


def draft_texts(guesses: dict[str, Guess], *, landing: str, training_weeks: int) -> dict[str, str]:
    """Return the texts of the drafts, by their paths."""
    environment = Environment(  # noqa: S701 - none of the texts is HTML
        loader=PackageLoader("pipeline", "templates/drafts"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"counted": counted, "key": _key, "plain_name": plain_name, "sql": _named, "toml": _toml}
    environment.globals |= {"declared": _declared, "times": times, "accepted_fraction": 1 - ENOUGH}
    found = roles(guesses)
    facts = {"guesses": guesses, "found": found, "landing": landing, "training_weeks": training_weeks}
    templates = {"pipeline.toml": "pipeline.toml", "sql/features.sql": "features.sql", "sql/labels.sql": "labels.sql"}
    return {
        **{path: environment.get_template(name).render(facts) for path, name in templates.items()},
        **{f"expectations/{path}": text for path, text in _suites(guesses, found).items()},
    }


def _declared(column: Column, later: list[str]) -> str:
    if column.name in later:
        known_at = f'{{ type = "{column.type}", known_at = {_toml(column.name)} }}'
        return f"{known_at}  # DRAFT: empty until then, so it is hidden before"
    seen = f"{column.low} to {column.high}" if column.low is not None else counted(column.distinct, "value")
    return f'"{column.type}"  # {seen if column.values else "always empty"}'


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """Return a text, a number or a list as TOML, whose strings are like JSON's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _suites(guesses: dict[str, Guess], found: Roles) -> dict[str, str]:
    """Return the texts of the suites, by their paths below `expectations/`."""
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


def _named(name: str) -> str:
    """Return a name for SQL, in quotes only if it needs them."""
    token = duckdb.tokenize(name)
    is_plain = len(token) == 1 and token[0][1] == duckdb.token_type.identifier and name.isascii() and name.islower()
    return name if is_plain else quoted(name)
