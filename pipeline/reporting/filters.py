"""Jinja filters: numbers, dates and names as the pages show them.

Used by every page (`pipeline.reporting.rendering`), also the service's, so this module does not import pandas. Shares
are shown in percent, changes of shares in percentage points, missing values as a dash.
"""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

Number = Any
"""A number from SQL or pandas; None or NaN if it is missing."""
MISSING = "\N{EN DASH}"
MINUTE_SECONDS = 60
UNCHANGED = 0.0005
"""A smaller change is rounded to 0.0 points."""
MEASURES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}


def is_missing(value: object) -> bool:
    """Return whether a value is missing: None, NaN or NaT.

    >>> is_missing(None), is_missing(float("nan")), is_missing(0), is_missing("")
    (True, True, False, False)
    """
    return value is None or bool(value != value)  # noqa: PLR0124 - only NaN and NaT differ from themselves


def count(value: Number) -> str:
    """Return a whole number with thousands separators.

    >>> count(1234567)
    '1,234,567'
    """
    return MISSING if is_missing(value) else f"{int(value):,}"


def percent(value: Number) -> str:
    """Return a share in percent.

    >>> percent(0.6843), percent(float("nan")) == MISSING
    ('68.4%', True)
    """
    return MISSING if is_missing(value) else f"{value * 100:.1f}%"


def change(value: Number) -> str:
    r"""Return a change of a share in percentage points, with its sign and an arrow.

    >>> change(0.0123), change(0.0), change(-0.0123) == "▼ \N{MINUS SIGN}1.2"
    ('▲ +1.2', '0.0', True)
    """
    if is_missing(value):
        return MISSING
    if abs(value) < UNCHANGED:
        return "0.0"
    return f"▲ +{value * 100:.1f}" if value > 0 else f"▼ \N{MINUS SIGN}{-value * 100:.1f}"


def more_or_fewer(value: int) -> str:
    """Return a change of a number as part of a sentence.

    >>> more_or_fewer(1024), more_or_fewer(-3), more_or_fewer(0)
    ('1,024 more than', '3 fewer than', 'as many as')
    """
    if value == 0:
        return "as many as"
    return f"{count(value)} more than" if value > 0 else f"{count(-value)} fewer than"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    >>> counted(1, "subject"), counted(2000, "subject")
    ('1 subject', '2,000 subjects')
    """
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")


def day(value: date) -> str:
    """Return a day with its month and year.

    >>> day(date(2026, 11, 9))
    '9 November 2026'
    """
    return f"{value.day} {value:%B %Y}"


def moment(value: Any, zone: ZoneInfo) -> str:
    """Return an instant in the company's time zone.

    >>> from datetime import datetime
    >>> moment(datetime.fromisoformat("2026-11-23T05:02:00+00:00"), ZoneInfo("Europe/Berlin"))
    '23 November 2026, 06:02 CET'
    """
    if is_missing(value):
        return MISSING
    there = value.astimezone(zone)
    return f"{day(there)}, {there:%H:%M %Z}"


def seconds(value: Number) -> str:
    """Return a duration in seconds, or in minutes and seconds.

    >>> seconds(0.42), seconds(75.4), seconds(3600)
    ('0.4 s', '1 min 15 s', '60 min 0 s')
    """
    if is_missing(value):
        return MISSING
    if value < MINUTE_SECONDS:
        return f"{value:.1f} s"
    return f"{int(value // MINUTE_SECONDS)} min {int(value % MINUTE_SECONDS)} s"


def figure(value: Number) -> str:
    r"""Return a metric of a model with three decimals.

    >>> figure(0.74249), figure(-0.0012) == "\N{MINUS SIGN}0.001", figure(None) == MISSING
    ('0.742', True, True)
    """
    return MISSING if is_missing(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def measure(name: str) -> str:
    """Return the name of a metric of a model.

    >>> measure("brier")
    'Brier score'
    """
    return MEASURES.get(name, label(name))


def cell(text: str) -> str:
    r"""Return a text as the content of a cell of a Markdown table.

    >>> print(cell("a|b  <c>"))
    a\|b &lt;c&gt;
    """
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;").replace(">", "&gt;")


def label(name: str) -> str:
    """Return a column's or stage's name with spaces for underscores.

    >>> label("account_manager")
    'account manager'
    """
    return name.replace("_", " ")


FILTERS = (cell, change, count, counted, day, figure, label, measure, more_or_fewer, percent, seconds)
"""Those that need no time zone; `moment` is the other."""
