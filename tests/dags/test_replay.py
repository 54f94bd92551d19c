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
from pipeline.weeks import Week
from tests.dags.weeks import WEEK, digest

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")
NEVER_PUBLISHED = Week.parse("2026-02-02")
BAD = {
    "a lot": f"c0002,p2,{WEEK} 10:00:00,a lot,a",
    "ragged": "c0003,p0",
    "impossible": f"c0001,p1,{WEEK} 10:00:00,-99999.50,a",
}


@pytest.fixture(scope="module", autouse=True)
def data(installation, weekly) -> Iterator[Any]:
    """Edit a week's file, which is as it was in the end."""
    kept = {week: feed_file(installation, week).read_text() for week in (WEEK, NEVER_PUBLISHED)}

    def edit(week: Week, old: str, new: str) -> None:
        text = feed_file(installation, week).read_text()
        assert text.count(old) == 1
        feed_file(installation, week).write_text(text.replace(old, new))

    yield edit
    for week, text in kept.items():
        feed_file(installation, week).write_text(text)
    weekly(rebuild=True)


def feed_file(installation: Any, week: Week) -> Path:
    return Path(installation.landing) / f"events-{week}.csv"


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
    data(WEEK, BAD["a lot"], "\n".join([BAD["a lot"], "c0003,p0", "c0004,p1", "c0005,p2"]))
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
    data(WEEK, "\nc0003,p0\nc0004,p1\nc0005,p2", "")
    data(WEEK, BAD["a lot"], BAD["a lot"].replace("a lot", "12.50"))
    data(WEEK, BAD["impossible"], BAD["impossible"].replace("-99999.50", "5.00"))
    result = barometer("replay", "--week", str(WEEK))
    assert counts(result) == ([1, 0, 0], [1, 0, 0])
    said = said_by(result)
    (subject,) = said["subjects"]
    assert (subject["customer_id"], subject["product_id"]) == ("c0001", "p1")
    assert 0 <= subject["satisfaction"] <= 1
    assert (runs.published_run(installation, WEEK).quarantined, said["before"] < said["run"]) == (0, True)


def test_nothing_was_kept_out_so_nothing_is_told(barometer):
    assert counts(barometer("replay", "--week", str(WEEK))) == ([0, 0, 0], [0, 0, 0])


def test_a_week_that_was_only_ever_refused(installation, barometer, data):
    data(NEVER_PUBLISHED, "customer_id,product_id,happened_at,amount,kind\n", "\n".join([
        "customer_id,product_id,happened_at,amount,kind",
        f"c0001,p1,{NEVER_PUBLISHED} 10:00:00,a lot,a",
        f"c0002,p2,{NEVER_PUBLISHED} 10:00:00,nothing,a",
        "c0003,p0\n",
    ]))  # fmt: skip
    run = ("run", "--week", str(NEVER_PUBLISHED), "--model", "current")
    assert barometer(*run).exit_code == 1
    assert barometer(*run).exit_code == 1
    shown = barometer("quarantine", "show", "--week", str(NEVER_PUBLISHED), "--source", "events", "--line", "3")
    assert said_by(shown)[0]["content"] == f"c0002,p2,{NEVER_PUBLISHED} 10:00:00,nothing,a"
    data(NEVER_PUBLISHED, "a lot", "1.00")
    data(NEVER_PUBLISHED, "\nc0003,p0\n", "\n")
    result = barometer("replay", *run[1:])
    assert counts(result) == ([1, 1, 1], [0, 0, 0])
    said = said_by(result)
    assert (said["before"], said["run"]) == (f"{NEVER_PUBLISHED}.2", f"{NEVER_PUBLISHED}.3")


def test_a_week_that_was_never_read_cannot_be_replayed(barometer):
    never = barometer("replay", "--week", "2026-01-12")
    assert never.exit_code == 1
    assert never.stderr.startswith("Error: No run of the week 2026-01-12 has read its data")
