"""The words and numbers of the pages, as people read them: Jinja filters and the headline.

Used by every page (`pipeline.reporting.rendering`), the service's among them, so nothing here imports pandas. Shares
are shown in percent, changes of shares in percentage points; a missing value as a dash.
"""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

Number = Any
"""A number as SQL or pandas hand it out; None or NaN when there is none."""
MISSING = "\N{EN DASH}"
MINUTE_SECONDS = 60
UNCHANGED = 0.0005
"""Changes that read 0.0 points when rounded."""
MEASURES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}


def headline(satisfaction: Number, change: Number) -> str:
    """Return the week in one sentence.

    Examples
    --------
    >>> headline(0.6843, -0.012)
    'Satisfaction fell 1.2 points to 68.4%.'
    >>> headline(0.6843, 0.0001)
    'Satisfaction held at 68.4%.'
    >>> headline(0.6843, None)
    'Satisfaction stands at 68.4%.'
    >>> headline(None, None)
    'Nobody was scored this week.'
    """
    if is_missing(satisfaction):
        return "Nobody was scored this week."
    if is_missing(change):
        return f"Satisfaction stands at {percent(satisfaction)}."
    if abs(change) < UNCHANGED:
        return f"Satisfaction held at {percent(satisfaction)}."
    verb = "rose" if change > 0 else "fell"
    return f"Satisfaction {verb} {abs(change) * 100:.1f} points to {percent(satisfaction)}."


def describe_routing(recorded: dict[str, Any] | None, subjects: dict[str, int]) -> str:
    """Return which part the challenger had in a run.

    Parameters
    ----------
    recorded
        The run's `routing` in `prediction_runs`.
    subjects
        How many there are in each part: champion, challenger, shadow; none where nobody is.

    Examples
    --------
    >>> describe_routing({"mode": "off", "challenger": None, "reason": "routing is off"}, {"champion": 5})
    'None: routing is off.'
    """
    if not recorded or not recorded["challenger"]:
        return f"None: {recorded['reason'] if recorded else 'routing is off'}."
    challenger = f"version {recorded['challenger']['model_version']}, the challenger,"
    if recorded["mode"] == "ab":
        of = counted(sum(subjects.get(role, 0) for role in ("champion", "challenger")), "subject")
        served = f"{challenger} served {count(subjects.get('challenger', 0))} of {of}"
        return f"A/B test: {served}; {percent(recorded['fraction'])} of the customers are its own."
    if not subjects.get("shadow"):
        return f"Shadow: {challenger} could not score the week; see Sources and checks."
    return f"Shadow: {challenger} scored every subject too; nobody is served that, and nothing here counts it."


def join_names(names: list[str]) -> str:
    """Return names in a sentence.

    Examples
    --------
    >>> join_names(["a", "b", "c"]), join_names(["a"])
    ('a, b and c', 'a')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def is_missing(value: object) -> bool:
    """Return whether there is no number (None, NaN, NaT).

    Examples
    --------
    >>> is_missing(None), is_missing(float("nan")), is_missing(0), is_missing("")
    (True, True, False, False)
    """
    return value is None or bool(value != value)  # noqa: PLR0124 - only NaN and NaT are unlike themselves


def count(value: Number) -> str:
    """Return a whole number with its thousands apart.

    Examples
    --------
    >>> count(1234567)
    '1,234,567'
    """
    return MISSING if is_missing(value) else f"{int(value):,}"


def percent(value: Number) -> str:
    """Return a share in percent.

    Examples
    --------
    >>> percent(0.6843), percent(float("nan")) == MISSING
    ('68.4%', True)
    """
    return MISSING if is_missing(value) else f"{value * 100:.1f}%"


def change(value: Number) -> str:
    r"""Return a change of a share in percentage points, with its sign and an arrow.

    Examples
    --------
    >>> change(0.0123), change(0.0), change(-0.0123) == "▼ \N{MINUS SIGN}1.2"
    ('▲ +1.2', '0.0', True)
    """
    if is_missing(value):
        return MISSING
    if abs(value) < UNCHANGED:
        return "0.0"
    return f"▲ +{value * 100:.1f}" if value > 0 else f"▼ \N{MINUS SIGN}{-value * 100:.1f}"


def more_or_fewer(value: int) -> str:
    """Return a change of a number in words.

    Examples
    --------
    >>> more_or_fewer(1024), more_or_fewer(-3), more_or_fewer(0)
    ('1,024 more than', '3 fewer than', 'as many as')
    """
    if value == 0:
        return "as many as"
    return f"{count(value)} more than" if value > 0 else f"{count(-value)} fewer than"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun, in the plural where due.

    Examples
    --------
    >>> counted(1, "subject"), counted(2000, "subject")
    ('1 subject', '2,000 subjects')
    """
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")


def day(value: date) -> str:
    """Return a day in full.

    Examples
    --------
    >>> day(date(2026, 11, 9))
    '9 November 2026'
    """
    return f"{value.day} {value:%B %Y}"


def moment(value: Any, zone: ZoneInfo) -> str:
    """Return an instant in the company's time zone.

    Examples
    --------
    >>> from datetime import datetime
    >>> moment(datetime.fromisoformat("2026-11-23T05:02:00+00:00"), ZoneInfo("Europe/Berlin"))
    '23 November 2026, 06:02 CET'
    """
    if is_missing(value):
        return MISSING
    there = value.astimezone(zone)
    return f"{day(there)}, {there:%H:%M %Z}"


def seconds(value: Number) -> str:
    """Return a time span.

    Examples
    --------
    >>> seconds(0.42), seconds(75.4), seconds(3600)
    ('0.4 s', '1 min 15 s', '60 min 0 s')
    """
    if is_missing(value):
        return MISSING
    if value < MINUTE_SECONDS:
        return f"{value:.1f} s"
    return f"{int(value // MINUTE_SECONDS)} min {int(value % MINUTE_SECONDS)} s"


def figure(value: Number) -> str:
    r"""Return a measure of a model with three decimals.

    Examples
    --------
    >>> figure(0.74249), figure(-0.0012) == "\N{MINUS SIGN}0.001", figure(None) == MISSING
    ('0.742', True, True)
    """
    return MISSING if is_missing(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def measure(name: str) -> str:
    """Return the name of a measure of a model.

    Examples
    --------
    >>> measure("brier")
    'Brier score'
    """
    return MEASURES.get(name, label(name))


def cell(text: str) -> str:
    r"""Return a text that stays in its cell of a Markdown table, and plain.

    Examples
    --------
    >>> print(cell("a|b  <c>"))
    a\|b &lt;c&gt;
    """
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;").replace(">", "&gt;")


def label(name: str) -> str:
    """Return a column's or stage's name as people write it.

    Examples
    --------
    >>> label("account_manager")
    'account manager'
    """
    return name.replace("_", " ")
