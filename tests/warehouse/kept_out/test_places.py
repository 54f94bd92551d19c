"""What became of a reject whose file was delivered anew, with other changes in the file too."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from pipeline.manifests import SourceRead
from pipeline.settings import Settings
from pipeline.warehouse.kept_out.replayed import reject_outcomes
from pipeline.warehouse.runs import RunRecord
from tests.feeds import feed_settings, read

HEADER = "id,amount\n"
READ, REJECTED, GONE = "read now", "still rejected", "no longer in the data"


def record(source: SourceRead) -> RunRecord:
    return RunRecord.model_construct(sources={"feed": source.model_dump(mode="json")})


def outcomes(folder: Path, old: str, new: str | None, **changed: Any) -> list[tuple[int, str, int | None]]:
    """Return line, outcome and new line of the rejects of `old`, after `new` was read in its place."""
    before = record(read(feed_settings(folder, HEADER + old)))
    declared = {"declared": 'path = "feed.csv"', **changed}
    now: Settings = feed_settings(folder, None if new is None else HEADER + new, **declared)
    table = reject_outcomes(now, before, record(read(now)))
    return [(row["line"], row["outcome"], row["line_now"]) for row in table.to_pylist()]


def test_a_reject_that_stands_there_twice_and_then_once(tmp_path: Path):
    assert outcomes(tmp_path, "b,x\na,1\nb,x\n", "a,1\nb,x\n") == [(2, REJECTED, 3), (4, GONE, None)]


def test_equal_rows_are_told_apart_by_their_number(tmp_path: Path):
    assert outcomes(tmp_path, "a,1\na,1\nb,x\nc,3\n", "a,1\na,1\nb,2\nc,3\n") == [(4, READ, 4)]


def test_a_good_row_beside_it_changes(tmp_path: Path):
    assert outcomes(tmp_path, "a,1\nb,x\nc,3\n", "a,7\nc,3\n") == [(3, GONE, None)]
    assert outcomes(tmp_path, "a,1\nb,x\nc,3\n", "a,7\nb,2\nc,3\n") == [(3, READ, 3)]


def test_rejects_beside_each_other_are_told_apart(tmp_path: Path):
    """The one above is taken out, the one between is as it was, the one below is corrected."""
    assert outcomes(tmp_path, "a,1\nb,x\nc,y\nd,z\n", "a,1\nc,y\nd,4\n") == [
        (3, GONE, None), (4, REJECTED, 3), (5, READ, 4),
    ]  # fmt: skip


def test_a_corrected_line_takes_the_place_of_one_reject_only(tmp_path: Path):
    """Even if the file was sorted anew."""
    found = outcomes(tmp_path, "a,1\nb,x\nc,3\nd,y\ne,5\n", "e,5\nc,3\nb,2\na,1\nd,4\n")
    lines_now = [line for *_, line in found if line is not None]
    assert len(lines_now) == len(set(lines_now))


def test_the_same_bytes_with_a_mended_declaration(tmp_path: Path):
    content = 'a,1\nb,-\nc,"3,5"\n'
    assert outcomes(tmp_path, content, content, declared='null_values = ["-"]') == [(3, READ, 3), (4, REJECTED, 4)]


def test_the_same_bytes_with_other_types(tmp_path: Path):
    content = "a,x\na,1\n"
    assert outcomes(tmp_path, content, content, columns={"id": "text", "amount": "text"}) == [(2, READ, 2)]


def test_a_file_under_another_name(tmp_path: Path):
    before = record(read(feed_settings(tmp_path, HEADER + "b,x\n")))
    now = feed_settings(tmp_path, HEADER + "b,x\n", name="another.csv")
    assert reject_outcomes(now, before, record(read(now)))["outcome"].to_pylist() == [REJECTED]
    now = feed_settings(tmp_path, HEADER + "b,2\n", name="another.csv")
    assert reject_outcomes(now, before, record(read(now)))["outcome"].to_pylist() == [GONE]


LINES = st.sampled_from(["kept", "corrected", "removed", "worse", "kept after new rows"])


@given(st.lists(LINES, min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_every_reject_has_its_own_outcome(tmp_path_factory, fates):
    """Between two rejects there is a good row, so there is one right answer."""
    old, new, expected = "g,0\n", "g,0\n", []
    for number, fate in enumerate(fates):
        line, bad, good = 3 + 2 * number, f"b{number},x\n", f"g{number},{number}\n"
        now = {"corrected": f"b{number},5\n", "removed": "", "worse": f"b{number}\n"}.get(fate, bad)
        added = f"new{number},1\nnewer{number},2\n" if fate == "kept after new rows" else ""
        outcome = {"corrected": READ, "removed": GONE}.get(fate, REJECTED)
        line_now = None if fate == "removed" else 2 + (new + added).count("\n")
        expected.append((line, outcome, line_now))
        old, new = old + bad + good, new + added + now + good
    assert outcomes(tmp_path_factory.mktemp("feed"), old, new) == expected
