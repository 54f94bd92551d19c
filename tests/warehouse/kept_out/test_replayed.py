"""What became of quarantined subjects; and every row that was kept out has one outcome."""

from pathlib import Path

import pytest

from pipeline.errors import ConservationError, WeekError
from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.warehouse.kept_out import replayed as module
from pipeline.warehouse.kept_out.replayed import replayed, run_before
from pipeline.warehouse.runs import RunRecord
from pipeline.weeks import Week
from tests.feeds import feed_settings, read
from tests.published import publish_week

WEEK = Week.parse("2026-03-02")
KEPT_OUT = {("c1", "p"): ["too much"], ("c2", "p"): ["too little"], ("c3", "p"): ["a", "b"], ("", "p"): ["no key"]}


def published(settings: Settings, feed: str, quarantined: dict[tuple[str, str], list[str]], folder: Path) -> RunRecord:
    source = read(feed_settings(folder, feed)).model_dump(mode="json")
    served = [("c0", "p", 0.25, None), *((c, p, 0.75, None) for c, p in set(KEPT_OUT) - {*quarantined, ("c3", "p")})]
    plan, _ = publish_week(settings, WEEK, served, quarantined, sources={"feed": source})
    return runs.run(settings, plan.run_id)


@pytest.fixture
def two_runs(warehouse_settings: Settings, tmp_path: Path) -> tuple[RunRecord, RunRecord]:
    """Four subjects and three rejects are kept out, then two subjects and one reject."""
    before = published(warehouse_settings, "id,amount\na,x\nb,2\nc,y\nd,4\ne,z\n", KEPT_OUT, tmp_path)
    still = {("c2", "p"): ["too little still"], ("", "p"): ["no key"]}
    assert run_before(warehouse_settings, WEEK) == before
    return before, published(warehouse_settings, "id,amount\na,1\nb,2\nd,4\ne,z\n", still, tmp_path)


def test_every_row_has_an_outcome(warehouse_settings: Settings, two_runs):
    result = replayed(warehouse_settings, *two_runs)
    assert [(row["line"], row["outcome"], row["reason_now"]) for row in result.rejects.to_pylist()] == [
        (2, "read now", None),
        (4, "no longer in the data", None),
        (6, "still rejected", "amount: 'z' is not a number"),
    ]
    assert [
        (row["customer_id"], row["outcome"], row["satisfaction"], row["reasons_now"]) for row in result.subjects
    ] == [
        ("", "still in quarantine", None, ["no key"]),
        ("c1", "predicted now", 0.75, None),
        ("c2", "still in quarantine", None, ["too little still"]),
        ("c3", "no longer a subject", None, None),
    ]


@pytest.mark.parametrize(
    ("part", "forgetful"),
    [("reject_outcomes", lambda found: found.slice(1)), ("subject_outcomes", lambda found: found[1:])],
)
def test_a_row_without_an_outcome_is_noticed(warehouse_settings: Settings, two_runs, monkeypatch, part, forgetful):
    whole = getattr(module, part)
    monkeypatch.setattr(module, part, lambda *runs: forgetful(whole(*runs)))
    with pytest.raises(ConservationError, match=r"have an outcome\. Expected: 3 and 4"):
        replayed(warehouse_settings, *two_runs)


def test_a_run_that_is_not_published_any_more_is_refused(warehouse_settings: Settings, two_runs, tmp_path: Path):
    published(warehouse_settings, "id,amount\na,1\n", {}, tmp_path)
    with pytest.raises(WeekError, match="another run took its place"):
        replayed(warehouse_settings, *two_runs)


def test_the_last_refused_run_counts_where_none_was_published(warehouse_settings: Settings, tmp_path: Path):
    with pytest.raises(WeekError, match="No run of the week 2026-03-02 has read its data"):
        run_before(warehouse_settings, WEEK)
    source = read(feed_settings(tmp_path, "id,amount\na,x\n")).model_dump(mode="json")
    read_something, read_nothing = (
        runs.open_run(warehouse_settings, week=WEEK, airflow_run_id=name) for name in ("a", "b")
    )
    runs.update_run(warehouse_settings, read_something, sources={"feed": source})
    for run_id in (read_something, read_nothing):
        runs.fail_run(warehouse_settings, run_id, "no")
    assert run_before(warehouse_settings, WEEK).run_id == read_something
    Path(source["files"][0]["parquet"]).unlink()
    with pytest.raises(WeekError, match=r"are no longer here.*barometer run --week 2026-03-02 --rebuild"):
        run_before(warehouse_settings, WEEK)
