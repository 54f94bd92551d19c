"""The views hide what was not known before the cutoff."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.duck import connection
from pipeline.point_in_time.source_views import create_raw_views, create_views
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from tests.company import company_settings
from tests.feeds import WEEK, feed_settings


def view(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    manifest = read_sources(settings, WEEK)
    with connection(settings, readable=[settings.home / "ingested"]) as con:
        create_views(con, settings, manifest, WEEK.cutoff(settings.zone))
        return con.execute(sql).fetchall()


@pytest.mark.parametrize("declared", ["event_time", "arrived_at"])
def test_rows_from_the_cutoff_on_are_gone(tmp_path: Path, declared: str) -> None:
    content = (
        "id,t\na,2026-03-08 23:59:59.999999\nb,2026-03-09 00:00:00\nc,2026-03-08T22:59:59Z\nd,2026-03-08T23:00Z\ne,\n"
    )
    settings = feed_settings(
        tmp_path, content, columns={"id": "text", "t": "timestamp"}, declared=f'{declared} = "t"'
    )  # the week ends at 2026-03-08 23:00 UTC
    assert view(settings, "SELECT id FROM feed ORDER BY id") == [("a",), ("c",)]


def test_both_times_must_have_passed(tmp_path: Path) -> None:
    content = "id,t,u\na,2026-03-02 10:00:00,2026-03-02 10:00:00\nb,2026-03-10 10:00:00,2026-03-02 10:00:00\n"
    content += "c,2026-03-02 10:00:00,2026-03-10 10:00:00\n"
    columns = {"id": "text", "t": "timestamp", "u": "timestamp"}
    settings = feed_settings(tmp_path, content, columns=columns, declared='event_time = "t"\narrived_at = "u"')
    assert view(settings, "SELECT id FROM feed") == [("a",)]


@pytest.mark.parametrize(
    ("zone", "known"),
    [("Europe/Berlin", ["2026-03-07", "2026-03-08"]), ("America/New_York", ["2026-03-07"]),
     ("Asia/Tokyo", ["2026-03-07", "2026-03-08"])],
)  # fmt: skip
def test_a_date_is_past_when_its_whole_day_is(tmp_path: Path, zone: str, known: list[str]) -> None:
    content = "id,d\nx,2026-03-07\nx,2026-03-08\nx,2026-03-09\nx,\n"
    declared = f'event_time = "d"\ntimezone = "{zone}"'
    settings = feed_settings(tmp_path, content, columns={"id": "text", "d": "date"}, declared=declared)
    assert view(settings, "SELECT CAST(d AS VARCHAR) FROM feed ORDER BY d") == [(day,) for day in known]


def test_cells_are_null_until_they_are_known(tmp_path: Path) -> None:
    content = "id,state,done,closed\n"
    content += "a,ok,2026-03-08 10:00:00,2026-03-08\nb,ok,2026-03-09 00:00:00,2026-03-09\nc,ok,,\n"
    columns = {
        "id": "text",
        "state": '{ type = "text", known_at = "done" }',
        "done": "timestamp",
        "closed": '{ type = "date", known_at = "closed" }',
    }
    settings = feed_settings(tmp_path, content, columns=columns)
    assert view(settings, "SELECT id, state, done IS NULL, closed IS NULL FROM feed ORDER BY id") == [
        ("a", "ok", False, False),
        ("b", None, True, True),  # when it will be done is not known either
        ("c", None, True, True),
    ]


def test_rejects_and_inner_columns_are_not_seen(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id,amount\na,1\nb,x\n")
    assert view(settings, "SELECT * FROM feed") == [("a", 1.0)]


def test_the_homes_path_gives_no_columns(company: Path, tmp_path: Path) -> None:
    settings = company_settings(company, tmp_path / "kind=x [y]" / "z=1" / "home")
    manifest = read_sources(settings, WEEK)
    with connection(settings) as con:
        create_raw_views(con, manifest)
        create_views(con, settings, manifest, WEEK.cutoff(settings.zone))
        for view in ("raw.events", "events"):
            assert con.sql(f"FROM {view}").columns == list(settings.sources["events"].columns)
            assert con.execute(f"SELECT DISTINCT kind FROM {view} ORDER BY kind").fetchall() == [("a",), ("b",), ("c",)]


def test_raw_views_hold_the_future_too(tmp_path: Path) -> None:
    content = "id,t\na,2026-03-02 10:00:00\nb,2027-01-01 00:00:00\nc,x\n"
    settings = feed_settings(tmp_path, content, columns={"id": "text", "t": "timestamp"}, declared='event_time = "t"')
    manifest = read_sources(settings, WEEK)
    with connection(settings) as con:
        create_raw_views(con, manifest)
        assert con.execute("SELECT id FROM raw.feed ORDER BY id").fetchall() == [("a",), ("b",)]
        assert con.sql("FROM raw.feed").columns == ["id", "t"]
