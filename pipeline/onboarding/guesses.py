"""Guesses the types and formats of a sampled feed's columns. A part of `pipeline.onboarding.drafts`.

A type is guessed by trying it: the casts that will read the feed must accept nearly every value. The entry point is
`guess`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from pipeline.duck import literal, quoted
from pipeline.onboarding.feeds import Sample
from pipeline.settings import Source
from pipeline.sources.casts import REASON, cast_query
from pipeline.sources.texts import Texts

ENOUGH = 0.98
"""The fraction of a column's values that must be of a type; the others are then rejects."""
EXAMPLES = 50
"""A format is tried on all values only if one of this many values has it."""
NULLS = ("NA", "N/A", "n/a", "NULL", "null", "None", "-", "\\N", "#N/A")
SEPARATORS = ((".", ""), (",", ""), (",", "."), (".", ","), (",", " "), (".", " "), (".", "'"))
"""Of decimals and thousands."""
DAYS = (None, "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%y", "%Y.%m.%d")
HOURS = (" %H:%M:%S", " %H:%M", "T%H:%M:%S", ", %H:%M")
TIMES = (None, *(f"{day}{hour}" for day in DAYS[1:] for hour in HOURS))
_IS_IDENTIFIER = re.compile(r"(^|[_ ])(id|no|nr|num|number|code|key|uuid|plz|zip)$|[a-z]Id$|ID$", re.IGNORECASE)
_LONGEST_DIGITS = 18


@dataclass(frozen=True)
class Column:
    """A column as it was found."""

    name: str
    type: str
    values: int
    """The number of values that are not NULL."""
    distinct: int
    low: Any = None
    high: Any = None
    """Of numbers and times, after the cast."""
    mean: float | None = None
    """Of times, in seconds since 1970."""


@dataclass(frozen=True)
class Guess:
    """A source as it was found."""

    source: Source
    columns: list[Column]
    rows: int
    rejects: int
    left_out: list[str]

    def of_types(self, *types: str) -> list[Column]:
        """Return the columns whose type begins with one of these words."""
        return [column for column in self.columns if column.type.startswith(types)]


def guess(con: duckdb.DuckDBPyConnection, sample: Sample) -> Guess:
    """Return the types and formats of the rows in the table `rows`."""
    trial = _Trial(con, sample)
    (decimal, thousands), numbers = trial.best(SEPARATORS, _numbers)
    date_format, dates = trial.best(DAYS, lambda trial, day: _times(trial, "date", date_format=day))
    timestamp_format, stamps = trial.best(TIMES, lambda trial, time: _times(trial, "timestamp", timestamp_format=time))
    _, booleans = trial.best((None,), lambda trial, _: dict.fromkeys(trial.takes("boolean"), "boolean"))
    types = dict.fromkeys(sample.columns, "text") | numbers | dates | stamps | booleans
    typed = [column for column, kind in types.items() if kind != "text"]
    settings = {
        "columns": _declared(types),
        "null_values": ("", *trial.nulls_in(typed)),
        "decimal_separator": decimal,
        "thousands_separator": thousands,
        "date_format": date_format,
        "timestamp_format": timestamp_format,
    }
    return _observed(trial, sample.source.model_copy(update=settings), types)


class _Trial:
    """The sampled rows, which can be cast as if they were declared in one way or another."""

    def __init__(self, con: duckdb.DuckDBPyConnection, sample: Sample) -> None:
        self.con = con
        self.sample = sample
        self.values = self._counts(sample.source.model_copy(update={"null_values": ("", *NULLS)}))
        self.open = [column for column in sample.columns if self.values[column]]
        """Columns that may be of another type than text; none of the types tried so far suits them."""

    def best(
        self, ways: Sequence[Any], types_in: Callable[["_Trial", Any], dict[str, str]]
    ) -> tuple[Any, dict[str, str]]:
        """Return the first of the ways to write values that suits the most open columns, and their types."""
        found = [(way, types_in(self, way)) for way in ways] if self.open else [(ways[0], {})]
        way, types = max(found, key=lambda each: len(each[1]))
        self.open = [column for column in self.open if column not in types]
        return way, types

    def takes(self, kind: str, **how: Any) -> list[str]:
        """Return the open columns of which nearly all values are of a type."""
        columns = _declared(dict.fromkeys(self.open, kind))
        source = self.sample.source.model_copy(update={"columns": columns, "null_values": ("", *NULLS), **how})
        counts = self._counts(source)
        return [column for column in self.open if counts[column] >= ENOUGH * self.values[column]]

    def query(self, source: Source) -> str:
        """Return the query that casts the rows."""
        texts = Texts(
            schema=pa.schema([]),
            batches=iter(()),
            columns={column: quoted(column) for column in self.sample.columns},
            raw="''",
            relation="rows",
            separators=(source.decimal_separator, source.thousands_separator),
        )
        return cast_query(source, ZoneInfo("UTC"), texts)

    def first(self, expression: str, column: str) -> Any:
        """Return the value of an aggregate; `$` in the expression is the column's text."""
        return self.con.execute(f"SELECT {expression.replace('$', quoted(column))} FROM rows").fetchall()[0][0]

    @cached_property
    def examples(self) -> dict[str, list[str]]:
        """Some distinct values of each column."""
        distinct = "SELECT DISTINCT {0} FROM rows WHERE {0} IS NOT NULL LIMIT {1}"
        return {
            column: [value for (value,) in self.con.execute(distinct.format(quoted(column), EXAMPLES)).fetchall()]
            for column in self.sample.columns
        }

    def nulls_in(self, columns: Sequence[str]) -> list[str]:
        """Return the words for NULL in these columns."""
        words = ", ".join(map(literal, NULLS))
        found = [self.first(f"list(DISTINCT $) FILTER ($ IN ({words}))", column) or [] for column in columns]
        return [word for word in NULLS if any(word in each for each in found)]

    def _counts(self, source: Source) -> dict[str, int]:
        counted = ", ".join(f"count({quoted(column)})" for column in source.columns)
        row = self.con.execute(f"SELECT {counted} FROM ({self.query(source)})").fetchall()[0]
        return dict(zip(source.columns, row, strict=True))


def _declared(types: dict[str, str]) -> dict[str, Any]:
    return Source.model_validate({"path": "*", "columns": types}).columns


def _numbers(trial: _Trial, separators: tuple[str, str]) -> dict[str, str]:
    """Return the columns of numbers with these separators, with their types."""
    how = dict(zip(("decimal_separator", "thousands_separator"), separators, strict=True))
    types = {column: _number(trial, column, separators[0]) for column in trial.takes("number", **how)}
    return types | {column: _integer(trial, column) for column in trial.takes("integer", **how)}


def _integer(trial: _Trial, column: str) -> str:
    has_leading_zeros = trial.first(r"bool_or(regexp_matches($, '^\s*[+-]?0\d'))", column)
    return "text" if has_leading_zeros or _IS_IDENTIFIER.search(column) else "integer"


def _number(trial: _Trial, column: str, decimal: str) -> str:
    """Return a decimal type if the digits are few, because the sum of floats depends on their order."""
    digits = trial.first("max(length(regexp_replace($, '[^0-9]', '', 'g')))", column)
    scale = trial.first(f"max(length(split_part($, '{decimal}', 2)))", column)
    has_exponent = trial.first("bool_or(regexp_matches(lower($), '[0-9]e[+-]?[0-9]'))", column)
    is_short = not has_exponent and scale <= 6 and digits + 2 <= _LONGEST_DIGITS  # noqa: PLR2004 - micros
    return f"decimal({max(12, digits + 2)},{max(scale, 2)})" if is_short else "number"


def _times(trial: _Trial, kind: str, **how: str | None) -> dict[str, str]:
    """Return the columns of dates or timestamps in this format (None: ISO 8601), with their type."""
    (written,) = how.values()
    seen = [value for column in trial.open for value in trial.examples[column]]
    is_likely = written is None or any(_parses(value, written) for value in seen)
    return dict.fromkeys(trial.takes(kind, **how), kind) if is_likely else {}


def _parses(text: str, how: str) -> bool:
    try:
        datetime.strptime(text.strip(), how)  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True


def _observed(trial: _Trial, source: Source, types: dict[str, str]) -> Guess:
    """Cast the rows as guessed, and return what the columns hold."""
    trial.con.execute(f"CREATE OR REPLACE TABLE typed AS {trial.query(source)}")
    columns = []
    for name, kind in types.items():
        cell = quoted(name)
        bounds, mean = "NULL, NULL", "NULL"
        if kind not in {"text", "boolean"}:
            bounds = f"min({cell}), max({cell})"
        if kind in {"date", "timestamp"}:
            bounds = f"CAST(min({cell}) AS VARCHAR), CAST(max({cell}) AS VARCHAR)"
            mean = f"avg(epoch({cell}))"
        query = f"SELECT count({cell}), count(DISTINCT {cell}), {bounds}, {mean} FROM typed"
        columns.append(Column(name, kind, *trial.con.execute(query).fetchall()[0]))
    rejects = trial.con.execute(f"SELECT count(*) FROM typed WHERE {REASON} IS NOT NULL").fetchall()[0][0]
    return Guess(source, columns, trial.sample.rows, rejects, trial.sample.left_out)
