"""The report's tables: the warehouse's answers, arranged the way the page shows them.

Used by `pipeline.reporting.report_facts`. The input frames are aggregates (weeks by products, tenths), never rows of
subjects. When there are too many products to show, the most remarkable ones are shown: a difference is weighted by the
square root of the number of subjects, so that chance does not put a small product first.
"""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pipeline.reporting import charts
from pipeline.reporting.filters import UNCHANGED

MOST_PRODUCTS = 24
LISTED_PRODUCTS = 10
"""If there are more products than that, this many of the lowest and of the highest are shown."""
LISTED_MOVES = 5

Row = dict[str, Any]


def product_lines(by_product: pd.DataFrame, weeks: list[date]) -> list[Row]:
    """Return the lines of the product table, lowest satisfaction first; the last line sums up the products left out.

    `by_product` has week, product_id, subjects, satisfaction, likely_dissatisfied, quarantined, ordered by product.
    `weeks` are the published weeks, oldest first; the products are those of the last week.
    """
    latest = by_product[by_product["week"] == weeks[-1]]
    listed = _most_remarkable(latest)
    lines = [
        line(product, rows.set_index("week").reindex(weeks))
        for product, rows in by_product[by_product["product_id"].isin(listed)].groupby("product_id")
    ]
    others = latest.loc[~latest["product_id"].isin(listed), "product_id"]
    if len(others):
        rows = _sum_up(by_product[by_product["product_id"].isin(others)])
        lines.append(line(None, rows.reindex(weeks), products=len(others)))
    return sorted(lines, key=lambda row: (row["name"] is None, not row["subjects"], row["satisfaction"]))


def line(name: str | None, by_week: pd.DataFrame, products: int = 1) -> Row:
    """Return a line of the product table: the last week's numbers, and satisfaction over the weeks.

    `by_week` has subjects, satisfaction, likely_dissatisfied, quarantined by week, oldest first. `name` is None if the
    line sums up several `products`.
    """
    numbers = by_week.iloc[-1][["subjects", "satisfaction", "likely_dissatisfied", "quarantined"]].to_dict()
    satisfaction = by_week["satisfaction"].astype(float)
    return {
        "name": name,
        "products": products,
        **numbers,
        "change": satisfaction.diff().iloc[-1],
        "weeks": satisfaction,
    }


def add_sparklines(lines: list[Row]) -> list[Row]:
    """Return the lines with their sparklines, all drawn to one scale."""
    span = charts.widest_span([line["weeks"] for line in lines])
    return [{**line, "drawing": charts.sparkline(line["weeks"], span)} for line in lines]


def largest_moves(by_product: pd.DataFrame, week: date, before: date) -> tuple[list[Row], list[Row]]:
    """Return the products that fell most and the products that rose most from the week `before` to `week`."""
    now, then = (by_product[by_product["week"] == each].set_index("product_id") for each in (week, before))
    both = now.join(then, suffixes=("", "_before"), how="inner")
    both["change"] = both["satisfaction"] - both["satisfaction_before"]
    both["weight"] = both["change"] * np.sqrt(both[["subjects", "subjects_before"]].min(axis=1))
    both = both.dropna(subset="change").reset_index().sort_values(["weight", "product_id"])
    fell = both[both["change"] <= -UNCHANGED].head(LISTED_MOVES)
    rose = both[both["change"] >= UNCHANGED].iloc[::-1].head(LISTED_MOVES)
    return records(fell), records(rose)


def at_risk(answer: pd.DataFrame) -> list[Row]:
    """Return the subjects with the change of their satisfaction since the week before, missing for new subjects."""
    return records(answer.assign(change=answer["satisfaction"] - answer["before"].astype(float)))


def tenths(distribution: pd.DataFrame) -> list[Row]:
    """Return ten rows: tenth, subjects, and as shares of all subjects: share, dissatisfied, before, widest of any row.

    `before` is missing if the week before has no subjects.
    """
    table = pd.DataFrame(
        {
            "tenth": distribution["tenth"],
            "subjects": distribution["subjects"],
            "share": distribution["subjects"] / max(distribution["subjects"].sum(), 1),
            "dissatisfied": distribution["likely_dissatisfied"] / max(distribution["subjects"].sum(), 1),
            "before": distribution["subjects_before"] / (distribution["subjects_before"].sum() or np.nan),
        }
    )
    return records(table.assign(widest=table[["share", "before"]].max(axis=None) or 1))


def records(table: pd.DataFrame) -> list[Row]:
    """Return the rows as dictionaries, for the templates."""
    rows: list[Row] = table.to_dict("records")
    return rows


def _most_remarkable(latest: pd.DataFrame) -> pd.Series:
    if len(latest) <= MOST_PRODUCTS:
        return latest["product_id"]
    served = latest[latest["subjects"] > 0]
    overall = np.average(served["satisfaction"], weights=served["subjects"])
    weight = (served["satisfaction"] - overall) * np.sqrt(served["subjects"])
    order = served.assign(weight=weight).sort_values(["weight", "product_id"])["product_id"]
    return pd.concat([order.head(LISTED_PRODUCTS), order.tail(LISTED_PRODUCTS)])


def _sum_up(rows: pd.DataFrame) -> pd.DataFrame:
    sums = rows.assign(satisfaction=rows["satisfaction"] * rows["subjects"])
    weeks = sums.groupby("week")[["subjects", "satisfaction", "likely_dissatisfied", "quarantined"]].sum()
    return weeks.assign(satisfaction=weeks["satisfaction"] / weeks["subjects"])
