"""Expectation suites: JSON files in `expectations/`, checked before they are used.

    {"name": "features",
     "expectations": [{"type": "expect_column_values_to_be_between",
                       "kwargs": {"column": "amount", "min_value": 0},
                       "severity": "critical", "notes": "optional"}]}

A value in `kwargs` may be a parameter, `{"$PARAMETER": "recent_rows * 0.5"}`. Great Expectations
evaluates it.

Entry points: `load_suite` and `week_parameters`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.handoff import Facts
from pipeline.settings import Settings
from pipeline.weeks import Week

Severity = Literal["critical", "warning"]
ACROSS_ROWS = {"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"}
"""Expectations on rows that compare rows with each other."""


class ExpectationSpec(Facts):
    """One expectation, as in its suite's file."""

    type: str = Field(min_length=1)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity
    notes: str = ""


class _SuiteFile(Facts):
    name: str
    expectations: list[ExpectationSpec]


@dataclass(frozen=True)
class Suite:
    """A suite whose parameters have their values."""

    name: str
    """`features`, `predictions` or `sources/<source>`."""
    file: Path
    expectations: dict[int, ExpectationSpec]
    """Those to evaluate, by their position in the file, from 0."""
    skipped: dict[int, ExpectationSpec]
    """Those with a parameter that has no value yet, by position."""

    def error(self, number: int, found: str) -> ConfigError:
        """Return the error for the expectation at this position."""
        spec = (self.expectations | self.skipped)[number]
        return ConfigError(
            f"Expectation {number + 1} of {self.file}, {spec.type}: {found}",
            "an expectation that Great Expectations 1 can evaluate on this table.",
            "correct the expectation, then run the week again.",
        )


def load_suite(
    name: str,
    file: Path,
    columns: list[str],
    parameters: Mapping[str, Any],
    applies: Callable[[ExpectationSpec], bool] = lambda _: True,
) -> Suite:
    """Return the suite in `file` for a table with these columns.

    `applies` says of an expectation whether to keep it. One whose parameter is None is skipped.

    Raises
    ------
    ConfigError
        If the file is absent or broken, or an expectation names an unknown column or parameter.
    """
    specs = {number: spec for number, spec in enumerate(_read(file).expectations) if applies(spec)}
    suite = Suite(name, file, specs, {})
    for number, spec in specs.items():
        unknown = set(named_columns(spec.kwargs)) - set(columns)
        if unknown and spec.type != "expect_column_to_exist":
            raise suite.error(number, f"there is no column {', '.join(sorted(unknown))} in {', '.join(columns)}.")
    skipped = {number: spec for number, spec in specs.items() if _lacks_value(spec, parameters)}
    filled = {number: _filled(suite, number, parameters) for number in specs.keys() - skipped.keys()}
    return Suite(name, file, dict(sorted(filled.items())), skipped)


def week_parameters(week: Week, zone: ZoneInfo) -> dict[str, Any]:
    """Return the parameters of every suite of a week: when it starts, and when it ends."""
    return {"week_start": week.start(zone).isoformat(), "cutoff": week.cutoff(zone).isoformat()}


def refuse_stray_suites(settings: Settings) -> None:
    """Refuse a suite without a source, which would never be evaluated.

    Raises
    ------
    ConfigError
        If there is one.
    """
    folder = settings.expectations / "sources"
    known = {suite for source in settings.sources for suite in (f"{source}.json", f"whole/{source}.json")}
    stray = sorted({str(file.relative_to(folder)) for file in folder.rglob("*.json")} - known)
    if stray:
        raise ConfigError(
            f"The folder {folder} has {', '.join(stray)}, a suite for no source.",
            f"<source>.json and whole/<source>.json, for the sources {', '.join(settings.sources)}.",
            "rename or remove the file, or declare the source.",
        )


def concerns_rows_of(columns: list[str]) -> Callable[[ExpectationSpec], bool]:
    """Return a function that says whether an expectation looks at single rows, in these columns only.

    It is False for an expectation on the whole table (which `mostly` also makes it), for one that
    compares rows, and for one with a parameter, whose value comes from a week.
    """
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations import expectation
    from great_expectations.expectations.registry import get_expectation_impl

    kinds = (
        expectation.ColumnMapExpectation,
        expectation.ColumnPairMapExpectation,
        expectation.MulticolumnMapExpectation,
    )

    def applies(spec: ExpectationSpec) -> bool:
        conditions = re.findall(r'col\("([^"]*)"\)', str(spec.kwargs.get("row_condition", "")))
        if not {*named_columns(spec.kwargs), *conditions} <= set(columns):
            return False
        if any(_parameter(value) for value in spec.kwargs.values()) or spec.kwargs.get("mostly", 1) != 1:
            return False
        try:
            return spec.type not in ACROSS_ROWS and issubclass(get_expectation_impl(spec.type), kinds)
        except ExpectationNotFoundError:
            return True  # the validation refuses it

    return applies


def named_columns(kwargs: Mapping[str, Any]) -> list[str]:
    """Return the columns that an expectation looks at, in the order of Great Expectations."""
    named = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    return [name for name in (*named, *kwargs.get("column_list", [])) if isinstance(name, str)]


def _read(file: Path) -> _SuiteFile:
    try:
        return _SuiteFile.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        found = f"There is no suite {file}."
    except (OSError, UnicodeDecodeError) as error:
        found = f"The suite {file} cannot be read: {error}."
    except json.JSONDecodeError as error:
        found = f"The suite {file} is not JSON: {error}."
    except ValidationError as error:
        found = f"The suite {file} is not a valid suite: {'; '.join(map(_described, error.errors()))}."
    raise ConfigError(
        found,
        '{"name": …, "expectations": [{"type": …, "kwargs": {…}, "severity": "critical" or "warning"}]}.',
        "write or correct the file, then run the week again.",
    )


def _described(error: Any) -> str:
    where = list(error["loc"])
    if len(where) > 1:  # ("expectations", 3, "severity")
        where = [f"expectation {where[1] + 1}", *where[2:]]
    return f"{', '.join(map(str, where)) or 'the file'}: {error['msg']}"


def _parameter(value: Any) -> str | None:
    return str(value["$PARAMETER"]) if isinstance(value, dict) and "$PARAMETER" in value else None


def _lacks_value(spec: ExpectationSpec, parameters: Mapping[str, Any]) -> bool:
    expressions = " ".join(_parameter(value) or "" for value in spec.kwargs.values())
    return any(parameters.get(name, "") is None for name in re.findall(r"\w+", expressions))


def _filled(suite: Suite, number: int, parameters: Mapping[str, Any]) -> ExpectationSpec:
    from great_expectations.core.suite_parameters import parse_suite_parameter
    from great_expectations.exceptions.exceptions import SuiteParameterError

    spec = suite.expectations[number]
    kwargs = dict(spec.kwargs)
    for key, value in spec.kwargs.items():
        expression = _parameter(value)
        if expression is not None:
            try:
                kwargs[key] = parse_suite_parameter(expression, dict(parameters))
            except SuiteParameterError:
                known = ", ".join(sorted(parameters)) or "none"
                raise suite.error(number, f"{expression!r} has no value; the parameters here are: {known}.") from None
    return spec.model_copy(update={"kwargs": kwargs})
