"""The pipeline knows no company: neither its code nor its tests name a table or column of an example.

Names with an underscore (`review_score`) are searched everywhere as whole words. A source's name without one
(`tickets`) is an ordinary word, so only its use alone in quotes counts. The examples' own tests may name them.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIGURATIONS = [ROOT / "pipeline.toml", *sorted((ROOT / "examples").glob("*/pipeline.toml"))]
CODE = {".py", ".sql", ".html", ".css", ".md", ".toml", ".json", ".cfg"}
TESTS_OF_EXAMPLES = {ROOT / "tests" / name for name in ("sample", "olist", "guide")}
OF_THE_PIPELINE = {"customer_id", "product_id", "observed_at", "customers", "products", "started_at"}
"""Names that Barometer itself uses: a subject's keys, its parts, the start of a run."""
MADE_UP_IN_TESTS = {"about_week", "answered_at", "opened_at"}
"""Companies in the tests share some names with an example."""


def names(configuration: Path) -> set[str]:
    """Return the company's names: its sources, their columns, and the names in its SQL."""
    settings = tomllib.loads(configuration.read_text())
    found = {*settings["sources"], *(name for source in settings["sources"].values() for name in source["columns"])}
    for query in ("features_sql", "labels_sql"):
        sql = re.sub("--.*", "", (configuration.parent / settings["paths"][query]).read_text())
        found |= set(re.findall(r"\bAS (\w+)", sql)) | set(re.findall(r"^(\w+) AS \($", sql, re.MULTILINE))
    return {name for name in found if "_" in name.strip("_") or name in settings["sources"]} - OF_THE_PIPELINE


def pattern(names: set[str]) -> re.Pattern[str]:
    """Return a pattern that finds these names in a line."""
    compound = "|".join(sorted(name for name in names if "_" in name))
    single = "|".join(sorted(name for name in names if "_" not in name)) or "(?!)"
    return re.compile(rf"""\b({compound})\b|["']({single})["']""")


def files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in CODE and not TESTS_OF_EXAMPLES & set(file.parents) and file != Path(__file__):
                yield file


def lines_with(wanted: re.Pattern[str], files: Iterator[Path]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {match[0]}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        for match in wanted.finditer(line)
    ]


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_no_name_of_a_company_stands_in_the_code(configuration):
    assert lines_with(pattern(names(configuration)), files("pipeline", "dags")) == []


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_no_name_of_a_company_stands_in_the_tests_of_the_code(configuration):
    compound = {name for name in names(configuration) if "_" in name} - MADE_UP_IN_TESTS
    assert lines_with(pattern(compound), files("tests")) == []


def test_the_examples_are_looked_at():
    found = [names(configuration) for configuration in CONFIGURATIONS]
    assert {"tickets", "monthly_value", "minutes_change_percent", "recent_use"} <= found[0]
    assert len(found) == len(list((ROOT / "examples").glob("*/pipeline.toml"))) + 1 >= 2
