"""The pages name only files, tests and anchors that exist, and every command of `barometer` they name is one."""

import re
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.settings import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/olist/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FOLDERS = ("benchmarks", "dags", "docs", "examples", "expectations", "pipeline", "sql", "tests")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*\w/?)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#:\s]+)(#[\w-]+)?\)")
COMMAND = re.compile(r"^(?:\w+=\S+ )*barometer ([a-z]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path):
    text = page.read_text()
    wrong = [link for link, _ in LINK.findall(text) if not (page.parent / link).exists()]
    for path, test in PATH.findall(text):
        file = ROOT / path
        if not file.exists() or (test and f"\ndef {test}(" not in file.read_text()):
            wrong.append(f"{path}::{test}")
    wrong += [command for command in COMMAND.findall(text) if command not in main.commands]
    assert not wrong


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text() + (ROOT / "docs" / "decisions" / "README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert {name for name in pages if f"{name})" not in index} == set()
