"""Weeks are named by Mondays, begin in the company's zone, and are resolved in one way for every trigger."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import WeekError
from pipeline.weeks import Week, resolve_week

BERLIN = ZoneInfo("Europe/Berlin")
SATURDAY = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-17", "2026-13-01", "", "last week", "20261116x"])
def test_what_is_no_monday_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(WeekError) as caught:
        Week.parse(text)
    assert repr(text)[1:-1] in str(caught.value)
    assert "Monday" in str(caught.value)


@given(st.integers(0, 100 * 365 * 86400), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]))
def test_an_instant_lies_in_its_week(seconds: int, zone: str) -> None:
    instant, timezone = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), ZoneInfo(zone)
    week = Week.containing(instant, timezone)
    assert week.start(timezone) <= instant < week.cutoff(timezone)
    assert week.cutoff(timezone) == week.plus(1).start(timezone)


def test_the_week_of_a_clock_change_is_an_hour_longer() -> None:
    week = Week.parse("2026-10-19")
    assert week.cutoff(BERLIN) - week.start(BERLIN) == timedelta(days=7, hours=1)


def test_a_run_takes_the_named_week_then_the_logical_date_then_the_last_complete() -> None:
    logical = datetime(2026, 11, 2, tzinfo=UTC)
    assert str(resolve_week("2026-10-26", logical, SATURDAY, BERLIN)) == "2026-10-26"
    assert str(resolve_week("", logical, SATURDAY, BERLIN)) == "2026-11-02"
    assert str(resolve_week(None, None, SATURDAY, BERLIN)) == "2026-11-09"


def test_a_monday_midnight_in_the_company_s_zone_is_its_own_week() -> None:
    monday_in_berlin = datetime(2026, 11, 1, 23, tzinfo=UTC)
    assert str(resolve_week(None, monday_in_berlin, SATURDAY, BERLIN)) == "2026-11-02"


def test_a_week_that_has_not_ended_is_refused() -> None:
    with pytest.raises(WeekError, match=r"in the future.*2026-11-09"):
        resolve_week("2026-11-16", None, SATURDAY, BERLIN)
