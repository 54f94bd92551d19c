"""Replays of a week through the real DAG: what became of every row that had been kept out, also when it is refused.

The tests are one story; the data and what was published of them are as before at its end.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.warehouse import runs
from tests.dags.weeks import WEEK, digest

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")
BAD = {
    "a lot": f"c0002,p2,{WEEK} 10:00:00,a lot,a",
    "ragged": "c0003,p0",
    "impossible": f"c0001,p1,{WEEK} 10:00:00,-99999.50,a",
}


@pytest.fixture(scope="module", autouse=True)
def data(installation, weekly) -> Iterator[Any]:
    """Edit the week's file, which is as it was in the end."""
    file = Path(installation.landing) / f"events-{WEEK}.csv"
    kept = file.read_text()

    def edit(old: str, new: str) -> None:
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    yield edit
    file.write_text(kept)
    weekly(rebuild=True)


@pytest.fixture
def barometer(installation, output_as_on_a_terminal):
    def call(*arguments: str) -> Result:
        with output_as_on_a_terminal():
            return CliRunner().invoke(main, [*arguments, "--json"])

    return call


def said_by(result: Result) -> Any:
    """What the command printed, behind what Airflow wrote to the runner's standard output."""
    lines = result.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line in {"{", "["})
    return json.loads("\n".join(lines[start:]))


def counts(result: Result) -> tuple[list[int], list[int]]:
    assert result.exit_code == 0, result.output[-2000:]
    said = said_by(result)
    assert sum(said["reject_counts"].values()) == len(said["rejects"])
    assert sum(said["subject_counts"].values()) == len(said["subjects"])
    return list(said["reject_counts"].values()), list(said["subject_counts"].values())


def test_what_was_not_mended_is_kept_out_still(weekly, barometer):
    weekly()
    result = barometer("replay", "--week", str(WEEK))
    assert counts(result) == ([0, 1, 0], [0, 1, 0])
    said = said_by(result)
    assert said["rejects"][0]["reason_now"] == "amount: 'a lot' is not a decimal(12,2)"
    assert said["subjects"][0]["reasons_now"] == said["subjects"][0]["reasons"]


def test_a_refused_replay_leaves_what_was_published(installation, barometer, data):
    before = digest(installation, WEEK)
    data(BAD["a lot"], "\n".join([BAD["a lot"], "c0003,p0", "c0004,p1", "c0005,p2"]))
    result = barometer("replay", "--week", str(WEEK))
    published = runs.published_run(installation, WEEK)
    assert result.exit_code == 1
    refused, found, *_ = result.stderr.splitlines()[-4:]
    assert refused == (
        f"The week {WEEK} was refused: {published.run_id} is still published, and the same rows are kept out."
    )
    assert found.startswith("Error: Source events has 4 new rejects among 20")
    assert digest(installation, WEEK) == before
    listed = said_by(barometer("quarantine", "list", "--week", str(WEEK)))
    assert [(run["state"], run["rejects"], run["quarantined"]) for run in listed] == [
        ("published", 1, 1), ("failed", 4, 0),
    ]  # fmt: skip
    events = listed[-1]["sources"]["events"]
    assert (events["new_rejects"], events["allowed_rejects"]) == (4, 2)
    assert events["reasons"] == {"has 2 values, not 5": 3, "amount: '…' is not a decimal(12,2)": 1}


def test_a_line_and_a_subject_are_mended_and_a_subject_goes(installation, barometer, data):
    data("\nc0003,p0\nc0004,p1\nc0005,p2", "")
    data(BAD["a lot"], BAD["a lot"].replace("a lot", "12.50"))
    data(BAD["impossible"], BAD["impossible"].replace("-99999.50", "5.00"))
    result = barometer("replay", "--week", str(WEEK))
    assert counts(result) == ([1, 0, 0], [1, 0, 0])
    said = said_by(result)
    (subject,) = said["subjects"]
    assert (subject["customer_id"], subject["product_id"]) == ("c0001", "p1")
    assert 0 <= subject["satisfaction"] <= 1
    assert (runs.published_run(installation, WEEK).quarantined, said["before"] < said["run"]) == (0, True)


def test_nothing_was_kept_out_so_nothing_is_told(barometer):
    assert counts(barometer("replay", "--week", str(WEEK))) == ([0, 0, 0], [0, 0, 0])


def test_a_week_that_was_never_read_cannot_be_replayed(barometer):
    never = barometer("replay", "--week", "2026-01-12")
    assert never.exit_code == 1
    assert never.stderr.startswith("Error: No run of the week 2026-01-12 has read its data")
