"""Exploration: what the train weeks hold, feature by feature, for the training report.

For each feature: its distribution, absent values and outliers, and the fraction of satisfied subjects along its values,
overall and by product. It takes a few passes of SQL, and no row is changed. The entry point is `explore`.
"""

from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.duck import connection, literal, quoted
from pipeline.models.histograms import bin_counts, histogram_query
from pipeline.models.profile import Categories, Numbers, Profile
from pipeline.models.scoring.columns import MISSING
from pipeline.settings import Settings
from pipeline.training.training_set import LABEL

BARS = 24
"""Bars of a number's distribution, between its first and its last percentile."""
MOST_BINS = 10
"""At most this many ranges of a number, or of the most frequent categories, are shown with their satisfied fraction."""
MOST_PRODUCTS = 8
FAR_OUT = 3.0
"""A number is an outlier if it lies this many interquartile ranges beyond the quartiles (Tukey's outer fences)."""
RARE = 0.001
"""A category is an outlier if a smaller fraction of the rows has it."""
WHOLE = 1000
"""From here on, numbers are shown without decimals."""


@dataclass(frozen=True)
class Bin:
    """Rows with values of one range, or of one category."""

    words: str
    rows: int
    satisfied: float | None
    """Fraction; None without rows."""


@dataclass(frozen=True)
class Exploration:
    """One feature in the train weeks."""

    name: str
    kind: str
    rows: int
    absent: int
    outliers: int
    """Rows."""
    contrast: tuple[str, str]
    """The low values and the high ones, in words; for a category, its most frequent value and all others."""
    summary: dict[str, str]
    """A few statistics."""
    bins: list[Bin]
    by_product: list[dict[str, Any]]
    """By product (None: all that are not listed) the `rows`, the fraction `absent`, a `typical` value, and the
    fractions of satisfied subjects among `low` and `high` values."""
    distribution: list[int] = field(default_factory=list)
    """Rows in bins of equal width, the outer ones open; empty for a category."""
    span: tuple[str, str] = ("", "")
    """From where to where the bins of equal width go: the first and the last percentile."""


def explore(settings: Settings, rows: pa.Table, profile: Profile) -> list[Exploration]:
    """Return what the train weeks' `rows`, labels included, hold of each feature; `profile` is of the same rows."""
    with connection(settings) as con:
        con.register("train", rows)
        return [
            _of_number(con, name, histogram, rows.num_rows)
            if isinstance(histogram, Numbers)
            else _of_category(con, name, histogram, rows.num_rows)
            for name, histogram in profile.features.items()
        ]


def _of_number(con: duckdb.DuckDBPyConnection, name: str, histogram: Numbers, rows: int) -> Exploration:
    column = quoted(name)
    fractions = [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1]
    query = f"SELECT quantile_cont({column}::DOUBLE, {fractions}), avg({column}::DOUBLE) FROM train"
    (lowest, first, lower, median, upper, last, highest), mean = con.execute(query).fetchall()[0]
    steps = sorted({first + (last - first) * step / BARS for step in range(1, BARS)} - {last})
    edges = histogram.edges if len(histogram.edges) < MOST_BINS else histogram.edges[1::2]
    reach = FAR_OUT * (upper - lower)
    is_far_out = f"{column} < {lower - reach!r} OR {column} > {upper + reach!r}"
    by_width, counts, satisfied, outliers = con.execute(
        f"SELECT {histogram_query(column, steps)}, {histogram_query(column, edges)},"
        f" {histogram_query(column, edges)} FILTER ({quoted(LABEL)}), count(*) FILTER ({is_far_out}) FROM train"
    ).fetchall()[0]
    low, high = (edges[(len(edges) - 1) // 3], edges[2 * len(edges) // 3]) if edges else (highest, highest)
    words = [f"{'to' if number else 'up to'} {_number(edge)}" for number, edge in enumerate(edges)]
    words.append(f"above {_number(edges[-1])}" if edges else "any")
    statistics = {"lowest": lowest, "median": median, "mean": mean, "highest": highest}
    return Exploration(
        name=name,
        kind="number",
        rows=rows,
        absent=histogram.missing,
        outliers=outliers if reach else 0,
        contrast=(f"at most {_number(low)}", f"above {_number(high)}"),
        summary={title: _number(value) for title, value in statistics.items()},
        bins=list(map(_bin, words, bin_counts(counts, edges), bin_counts(satisfied, edges))),
        by_product=_by_product(con, f"median({column})", column, f"{column} <= {low!r}", f"{column} > {high!r}"),
        distribution=bin_counts(by_width, steps),
        span=(_number(first), _number(last)),
    )


def _of_category(con: duckdb.DuckDBPyConnection, name: str, histogram: Categories, rows: int) -> Exploration:
    column = f"nullif({quoted(name)}, {literal(MISSING)})"
    found = con.execute(
        f"SELECT {column} AS value, count(*) AS rows, count(*) FILTER ({quoted(LABEL)}) AS satisfied FROM train"
        " GROUP BY value HAVING value IS NOT NULL ORDER BY rows DESC, value"
    ).fetchall()
    bins = [_bin(*row) for row in found[:MOST_BINS]]
    if others := found[MOST_BINS:]:
        bins.append(_bin(f"{len(others):,} others", sum(row[1] for row in others), sum(row[2] for row in others)))
    commonest = found[0][0] if found else MISSING
    is_commonest, is_other = (f"{column} {operator} {literal(commonest)}" for operator in ("=", "<>"))
    return Exploration(
        name=name,
        kind="category",
        rows=rows,
        absent=histogram.missing,
        outliers=sum(count for _, count, _ in found if count < RARE * rows),
        contrast=(commonest, "any other"),
        summary={"categories": f"{len(found):,}"},
        bins=bins,
        by_product=_by_product(con, f"mode({column})", column, is_commonest, is_other),
    )


def _by_product(con: duckdb.DuckDBPyConnection, typical: str, column: str, low: str, high: str) -> list[dict[str, Any]]:
    """Return the largest products, then all others together."""
    found = con.sql(
        f"""
        WITH largest AS (
            SELECT product_id FROM train GROUP BY product_id ORDER BY count(*) DESC, product_id LIMIT {MOST_PRODUCTS}
        )
        SELECT
            largest.product_id AS product, count(*) AS rows, 1 - count({column}) / count(*) AS absent,
            {typical} AS typical, avg({quoted(LABEL)}::INTEGER) FILTER ({low}) AS low,
            avg({quoted(LABEL)}::INTEGER) FILTER ({high}) AS high
        FROM train LEFT JOIN largest ON train.product_id = largest.product_id
        GROUP BY largest.product_id
        ORDER BY largest.product_id IS NULL, rows DESC, largest.product_id
        """
    ).to_arrow_table()
    return [
        {**row, "typical": row["typical"] if isinstance(row["typical"], str) else _number(row["typical"])}
        for row in found.to_pylist()
    ]


def _bin(words: str, rows: int, satisfied: int) -> Bin:
    return Bin(words, rows, satisfied / rows if rows else None)


def _number(value: float | None) -> str:
    """Return a number with up to four significant digits; a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    digits = f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.4g}"
    return digits.replace("-", "\N{MINUS SIGN}")
