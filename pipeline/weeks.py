"""Weeks: ISO weeks in the company's time zone, named by their Monday."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipeline.errors import WeekError


@dataclass(frozen=True, order=True)
class Week:
    """One ISO week, named by its Monday."""

    monday: date

    def __post_init__(self) -> None:
        """Refuse a day that is not a Monday."""
        if self.monday.weekday() != 0:
            start = self.monday - timedelta(days=self.monday.weekday())
            raise WeekError(
                f"The week {self.monday} starts on a {self.monday:%A}.",
                "a week named by its Monday, as YYYY-MM-DD.",
                f"use {start} for the week that contains {self.monday}.",
            )

    def __str__(self) -> str:
        """Return the Monday as YYYY-MM-DD."""
        return self.monday.isoformat()

    @classmethod
    def parse(cls, text: str) -> "Week":
        """Return the week named `text` (YYYY-MM-DD, a Monday).

        Raises
        ------
        WeekError
            If the text is not a date or the date is not a Monday.
        """
        try:
            return cls(date.fromisoformat(text))
        except ValueError:
            raise WeekError(
                f"The week {text!r} is not a date.",
                "a Monday as YYYY-MM-DD, for example 2026-11-16.",
                "give the Monday that starts the week.",
            ) from None

    @classmethod
    def containing(cls, instant: datetime, timezone: ZoneInfo) -> "Week":
        """Return the week that contains `instant` in `timezone`."""
        day = instant.astimezone(timezone).date()
        return cls(day - timedelta(days=day.weekday()))

    @classmethod
    def last_complete(cls, now: datetime, timezone: ZoneInfo) -> "Week":
        """Return the latest week that has ended by `now`."""
        return cls.containing(now, timezone).plus(-1)

    def plus(self, weeks: int) -> "Week":
        """Return the week `weeks` later (earlier when negative)."""
        return Week(self.monday + timedelta(weeks=weeks))

    def start(self, timezone: ZoneInfo) -> datetime:
        """Return the instant the week starts, in UTC."""
        return datetime.combine(self.monday, time(), timezone).astimezone(UTC)

    def cutoff(self, timezone: ZoneInfo) -> datetime:
        """Return the instant the week ends, in UTC. Nothing at or after it may influence the week's features."""
        return self.plus(1).start(timezone)


def resolve_week(named: str | None, logical: datetime | None, run_after: datetime, timezone: ZoneInfo) -> Week:
    """Return the week of a run: the named one, else that of its logical date, else the last complete week.

    Raises
    ------
    WeekError
        If `named` is malformed, or the week ends after `run_after`.
    """
    if named:
        week = Week.parse(named)
    elif logical is not None:
        week = Week.containing(logical, timezone)
    else:
        week = Week.last_complete(run_after, timezone)
    if week.cutoff(timezone) > run_after:
        raise WeekError(
            f"The week {week} ends at {week.cutoff(timezone):%Y-%m-%d %H:%M} UTC, which is in the future.",
            "a complete week.",
            f"wait until then, or name {Week.last_complete(run_after, timezone)}, the last complete week.",
        )
    return week
