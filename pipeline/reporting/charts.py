"""The report's charts, as coordinates that the templates draw in SVG boxes of 100 by 100.

Used by `pipeline.reporting.report_tables`. A point's x position is its week's date, so a week that was never published
shows as a longer step. `low` is at the bottom, `high` at the top.
"""

import math
from dataclasses import dataclass

import pandas as pd

from pipeline.reporting.filters import day, is_missing, percent

LEAST_SPAN = 0.05
"""A sparkline spans at least 5 points, so that noise does not look like a change."""
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
MOST_STEPS = 4


@dataclass(frozen=True)
class Drawing:
    """A line over weeks: an SVG path, the path of its last point, and a description."""

    path: str
    dot: str
    text: str


@dataclass(frozen=True)
class Axis:
    """The range of a chart and its labelled levels."""

    low: float
    high: float
    ticks: list[tuple[float, str]]
    """Distance from the top in percent of the height, and the label."""


def widest_span(lines: list[pd.Series]) -> float:
    """Return the widest range of the lines, at least `LEAST_SPAN`, so that all can be drawn to one scale."""
    return max([LEAST_SPAN, *(float(line.max() - line.min()) for line in lines if line.notna().any())])


def sparkline(line: pd.Series, span: float) -> Drawing:
    """Return the drawing of satisfaction by week (index: dates, oldest first), centred vertically."""
    middle = (line.max() + line.min()) / 2
    return _drawing(line, middle - span / 2, middle + span / 2)


def trend(line: pd.Series) -> tuple[Drawing, Axis]:
    """Return the drawing of satisfaction by week (index: dates, oldest first) and its axis."""
    lowest, highest = (line.min(), line.max()) if line.notna().any() else (0.0, 1.0)
    step = next((s for s in STEPS if (highest - lowest) / s <= MOST_STEPS - 1), STEPS[-1])
    low = min(math.floor(lowest / step + 1e-9), round(1 / step) - 2)
    high = max(math.ceil(highest / step - 1e-9), low + 2)
    ticks = [((high - level) / (high - low) * 100, f"{level * step:.0%}") for level in range(low, high + 1)]
    axis = Axis(low * step, high * step, ticks)
    return _drawing(line, axis.low, axis.high), axis


def _drawing(line: pd.Series, low: float, high: float) -> Drawing:
    known = line.dropna()
    if known.empty:
        return Drawing("", "", "No satisfaction in these weeks.")
    points = [_point(line.index, week, value, low, high) for week, value in line.items()]
    breaks = [before is None for before in [None, *points[:-1]]]
    path = " ".join(
        f"{'M' if starts else 'L'}{point}" for point, starts in zip(points, breaks, strict=True) if point is not None
    )
    return Drawing(path, f"M{points[-1]}h0" if points[-1] else "", _describe(known))


def _point(weeks: pd.Index, week: object, value: float, low: float, high: float) -> str | None:
    if is_missing(value):
        return None
    first, last = weeks[0], weeks[-1]
    across = (week - first) / (last - first) * 100 if last != first else 100.0
    return f"{across:.2f} {(high - value) / (high - low) * 100:.2f}"


def _describe(known: pd.Series) -> str:
    if len(known) == 1:
        return f"{percent(known.iloc[0])} in the week of {day(known.index[0])}, the only week."
    return (
        f"From {percent(known.iloc[0])} in the week of {day(known.index[0])} to {percent(known.iloc[-1])} "
        f"in the week of {day(known.index[-1])}; lowest {percent(known.min())}, highest {percent(known.max())}, "
        f"{len(known)} weeks."
    )
