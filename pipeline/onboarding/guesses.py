"""What the columns of a sampled feed look like: types, formats, times. A part of `pipeline.onboarding.init`.

A type is guessed by trying it: the same casts that will read the feed must take nearly every value. The entry point is
`guess`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from pipeline.duck import quoted
from pipeline.onboarding.samples import Sample
from pipeline.settings import Source
from pipeline.sources.casts import REASON, cast_query
from pipeline.sources.texts import Texts

ENOUGH = 0.98
"""So much of a column's values must be of a type; the others are then rejects."""
EXAMPLES = 50
"""A format that none of so many values has is not tried on all."""
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
    """How many are not NULL."""
    distinct: int
    low: Any = None
    high: Any = None
    """Of numbers and times, as they are cast."""
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


def guess(con: duckdb.DuckDBPyConnection, sample: Sample, zone: ZoneInfo) -> Guess:
    """Return the types and formats that the rows in the table `rows` have."""
    trial = _Trial(con, sample, zone)
    types, how = dict.fromkeys(sample.columns, "text"), {}
    for tried, settings in ((_numbers, SEPARATORS), (_days, DAYS), (_times, TIMES), (_booleans, (None,))):
        if found := tried(trial) if trial.open else []:
            index = max(range(len(found)), key=lambda each: (len(found[each]), -each))  # the first of the best
            types |= found[index]
            how[settings] = settings[index] if found[index] else None
            trial.open = [column for column in trial.open if column not in found[index]]
    source = sample.source.model_copy(update=_settings(trial, types, how))
    return _observed(trial, source, types)


def _settings(trial: "_Trial", types: dict[str, str], how: dict[Any, Any]) -> dict[str, Any]:
    """Return the source's settings that differ from a plain CSV file's, and the columns."""
    decimal, thousands = how.get(SEPARATORS) or SEPARATORS[0]
    typed = [column for column, kind in types.items() if kind != "text"]
    declared = _declared(types)
    return {
        "columns": declared,
        "null_values": ("", *trial.nulls_in(typed)),
        "decimal_separator": decimal,
        "thousands_separator": thousands,
        "date_format": how.get(DAYS),
        "timestamp_format": how.get(TIMES),
    }


def _declared(types: dict[str, str]) -> dict[str, Any]:
    return Source.model_validate({"path": "*", "columns": types}).columns


class _Trial:
    """The sampled rows, cast as if they were declared so."""

    def __init__(self, con: duckdb.DuckDBPyConnection, sample: Sample, zone: ZoneInfo) -> None:
        self.con = con
        self.sample = sample
        self._zone = zone
        self.values = self._counts(sample.source.model_copy(update={"null_values": ("", *NULLS)}))
        self.open = [column for column in sample.columns if self.values[column]]
        """Columns that are not known to be anything but text yet."""

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
        return cast_query(source, self._zone, texts)

    def takes(self, kind: str, **how: Any) -> list[str]:
        """Return the open columns of whose values nearly all are of a type."""
        columns = _declared(dict.fromkeys(self.open, kind))
        source = self.sample.source.model_copy(update={"columns": columns, "null_values": ("", *NULLS), **how})
        counts = self._counts(source)
        return [column for column in self.open if counts[column] >= ENOUGH * self.values[column]]

    def first(self, expression: str, column: str) -> Any:
        """Return what an expression over the column's text gives."""
        return self.con.execute(f"SELECT {expression.replace('$', quoted(column))} FROM rows").fetchall()[0][0]

    def examples(self, column: str) -> list[str]:
        """Return some of the column's values."""
        query = f"SELECT DISTINCT {quoted(column)} FROM rows WHERE {quoted(column)} IS NOT NULL LIMIT {EXAMPLES}"
        return [value for (value,) in self.con.execute(query).fetchall()]

    def nulls_in(self, columns: Sequence[str]) -> list[str]:
        """Return the words for NULL that stand in these columns."""
        words = ", ".join("'" + word.replace("'", "''") + "'" for word in NULLS)
        found = {
            word
            for column in columns
            for (word,) in self.con.execute(
                f"SELECT DISTINCT {quoted(column)} FROM rows WHERE {quoted(column)} IN ({words})"
            ).fetchall()
        }
        return [word for word in NULLS if word in found]

    def _counts(self, source: Source) -> dict[str, int]:
        counted = ", ".join(f"count({quoted(column)})" for column in source.columns)
        row = self.con.execute(f"SELECT {counted} FROM ({self.query(source)})").fetchall()[0]
        return dict(zip(source.columns, row, strict=True))


def _numbers(trial: _Trial) -> list[dict[str, str]]:
    """Return for each way to write numbers the columns that it suits, with their types."""
    if not any(re.search(r"\d", value) for column in trial.open for value in trial.examples(column)):
        return []
    found = []
    for decimal, thousands in SEPARATORS:
        how = {"decimal_separator": decimal, "thousands_separator": thousands}
        integers, numbers = trial.takes("integer", **how), trial.takes("number", **how)
        types = {column: _number(trial, column, decimal) for column in numbers}
        types |= {column: _integer(trial, column) for column in integers}
        found.append(types)
    return found


def _integer(trial: _Trial, column: str) -> str:
    has_leading_zeros = trial.first(r"bool_or(regexp_matches($, '^\s*[+-]?0\d'))", column)
    return "text" if has_leading_zeros or _IS_IDENTIFIER.search(column) else "integer"


def _number(trial: _Trial, column: str, decimal: str) -> str:
    """Return a decimal type where the digits are few; binary numbers sum differently in every order."""
    digits = trial.first("max(length(regexp_replace($, '[^0-9]', '', 'g')))", column)
    scale = trial.first(f"max(length(split_part($, '{decimal}', 2)))", column)
    has_exponent = trial.first("bool_or(regexp_matches(lower($), '[0-9]e[+-]?[0-9]'))", column)
    is_short = not has_exponent and scale <= 6 and digits + 2 <= _LONGEST_DIGITS  # noqa: PLR2004 - micros
    return f"decimal({max(12, digits + 2)},{max(scale, 2)})" if is_short else "number"


def _days(trial: _Trial) -> list[dict[str, str]]:
    return _tried(trial, "date", lambda day: {"date_format": day}, DAYS)


def _times(trial: _Trial) -> list[dict[str, str]]:
    return _tried(trial, "timestamp", lambda time: {"timestamp_format": time}, TIMES)


def _booleans(trial: _Trial) -> list[dict[str, str]]:
    return [dict.fromkeys(trial.takes("boolean"), "boolean")]


def _tried(
    trial: _Trial, kind: str, how: Callable[[str | None], dict[str, Any]], formats: Sequence[str | None]
) -> list[dict[str, str]]:
    seen = [value for column in trial.open for value in trial.examples(column)]
    likely = [each is None or any(_parses(value, each) for value in seen) for each in formats]
    return [
        dict.fromkeys(trial.takes(kind, **how(each)), kind) if is_likely else {}
        for each, is_likely in zip(formats, likely, strict=True)
    ]


def _parses(text: str, how: str) -> bool:
    try:
        datetime.strptime(text.strip(), how)  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True


def _observed(trial: _Trial, source: Source, types: dict[str, str]) -> Guess:
    """Cast the rows as guessed, and return what is in them."""
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
