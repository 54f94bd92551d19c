"""Drafts `pipeline.toml`, the suites and the SQL from what was found in the files; each guess is marked as a draft.

The texts are the templates in `pipeline/templates/drafts`. A part of `pipeline.onboarding.drafts`. The entry point is
`draft_texts`.
"""

import json
import re
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.duck import quoted
from pipeline.onboarding.column_roles import roles, times
from pipeline.onboarding.feeds import plain_name
from pipeline.onboarding.guesses import ENOUGH, Guess
from pipeline.reporting.filters import counted

TEXTS = (
    *("pipeline.toml", "sql/features.sql", "sql/labels.sql"),
    *("expectations/features.json", "expectations/predictions.json"),
)


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
    environment.globals |= {"times": times, "accepted_fraction": 1 - ENOUGH}
    facts = {"guesses": guesses, "found": roles(guesses), "landing": landing, "training_weeks": training_weeks}
    texts = {path: environment.get_template(path).render(facts) for path in TEXTS}
    suite = environment.get_template("expectations/source.json")
    return texts | {
        f"expectations/sources/{name}.json": suite.render(facts, name=name, guess=guess)
        for name, guess in guesses.items()
    }


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """Return a text, a number or a list as TOML, whose strings are like JSON's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _named(name: str) -> str:
    """Return a name for SQL, in quotes only if it needs them."""
    token = duckdb.tokenize(name)
    is_plain = len(token) == 1 and token[0][1] == duckdb.token_type.identifier and name.isascii() and name.islower()
    return name if is_plain else quoted(name)
