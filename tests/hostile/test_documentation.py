"""docs/feeds.md shows the corpus: every case is in a table there, with its outcome and its message."""

import pytest

from pipeline.settings import ROOT
from tests.hostile.case import Case, Refused
from tests.hostile.corpus import GROUPS


@pytest.mark.parametrize("heading", GROUPS)
def test_the_table_of_the_documentation_is_the_corpus(heading: str) -> None:
    page = (ROOT / "docs/feeds.md").read_text()
    section = page.split(f"\n### {heading}\n")[1].split("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert rows == table(GROUPS[heading])


def table(cases: list[Case]) -> list[str]:
    return ["| what comes | the week | what is said |", "|---|---|---|", *map(row, cases)]


def row(case: Case) -> str:
    says = f"`{case.outcome.says}`" if case.outcome.says else ""
    return f"| {case.name} | {outcome(case)} | {says} |"


def outcome(case: Case) -> str:
    if isinstance(case.outcome, Refused):
        return "refused"
    counted = [
        f"{number} {words}"
        for number, words in ((case.outcome.rejects, "rejected"), (case.outcome.quarantined, "quarantined"))
        if number
    ]
    return ", ".join(["published", *counted])
