"""Exploration: what the train weeks hold, feature by feature, for the training report.

How a feature is distributed, how often it is absent, what lies far out, how often subjects turned out satisfied along
its values, and the same by product. It is computed by SQL, in a few passes whatever the number of rows; nothing here
changes a row. The entry point is `explore`.
"""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipeline.duck import connection, literal, quoted
from pipeline.models.profile import Categories, Numbers, Profile
from pipeline.models.scorer import MISSING
from pipeline.settings import Settings
from pipeline.training.training_set import LABEL

WIDTHS = 24
"""Bars of a number's distribution, between its first and its last percentile."""
MOST_BINS = 10
"""So many steps of a number, or of the most frequent categories, stand beside the share of satisfied subjects."""
MOST_PRODUCTS = 8
FAR_OUT = 3.0
"""A number is an outlier when it lies so many interquartile ranges beyond the quartiles (Tukey's outer fences)."""
WHOLE = 1000
"""From here on numbers are shown without decimals."""
RARE = 0.001
"""A category is rare when fewer than this share of the rows have it."""


@dataclass(frozen=True)
class Bin:
    """Rows with values of one range, or one category."""

    words: str
    rows: int
    satisfied: float | None
    """Share; None without rows."""


@dataclass(frozen=True)
class OfProduct:
    """A feature in the rows of one product."""

    product: str | None
    """None: all products that are not listed."""
    rows: int
    absent: float
    """Share."""
    typical: str
    """Median, or the most frequent category."""
    low: float | None
    """Share of satisfied subjects among low values; for a category among those of its most frequent value."""
    high: float | None
    """The same among high values; for a category among those of any other value."""


@dataclass(frozen=True)
class Exploration:
    """What is known of one feature."""

    name: str
    kind: str
    rows: int
    absent: int
    outliers: int
    """Rows."""
    contrast: tuple[str, str]
    """What `low` and `high` of `by_product` mean."""
    summary: list[tuple[str, str]]
    """Names and values of a few statistics."""
    distribution: list[int]
    """Rows in steps of equal width, the outer ones open; empty for a category."""
    span: tuple[str, str]
    """From where to where these steps go: the first and the last percentile."""
    bins: list[Bin]
    by_product: list[OfProduct]


def explore(settings: Settings, rows: pa.Table, profile: Profile) -> list[Exploration]:
    """Return what `rows` hold, in the order of the profile's features.

    Parameters
    ----------
    settings
        The settings.
    rows
        The train weeks' rows, with their label.
    profile
        Of the same rows.
    """
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
    shares = [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1]
    query = f"SELECT quantile_cont({column}::DOUBLE, {shares}), avg({column}::DOUBLE) FROM train"
    (lowest, first, lower, median, upper, last, highest), mean = con.execute(query).fetchall()[0]
    steps = sorted({first + (last - first) * step / WIDTHS for step in range(1, WIDTHS)} - {last})
    edges = histogram.edges if len(histogram.edges) < MOST_BINS else histogram.edges[1::2]
    reach = FAR_OUT * (upper - lower)
    is_far_out = f"{column} < {lower - reach!r} OR {column} > {upper + reach!r}"
    widths, counts, satisfied, outliers = con.execute(
        f"SELECT {_histogram(column, steps)}, {_histogram(column, edges)},"
        f" {_histogram(column, edges)} FILTER ({quoted(LABEL)}), count(*) FILTER ({is_far_out}) FROM train"
    ).fetchall()[0]
    low, high = (edges[(len(edges) - 1) // 3], edges[2 * len(edges) // 3]) if edges else (highest, highest)
    words = [f"up to {_number(edge)}" for edge in edges[:1]]
    words += [f"to {_number(edge)}" for edge in edges[1:]] + [f"above {_number(edges[-1])}" if edges else "any"]
    shown = {"lowest": lowest, "median": median, "mean": mean, "highest": highest}
    return Exploration(
        name=name,
        kind="number",
        rows=rows,
        absent=histogram.missing,
        outliers=outliers if reach else 0,
        contrast=(f"at most {_number(low)}", f"above {_number(high)}"),
        summary=[(title, _number(value)) for title, value in shown.items()],
        distribution=_counts(widths, steps),
        span=(_number(first), _number(last)),
        bins=[
            _bin(text, count, hits)
            for text, count, hits in zip(words, _counts(counts, edges), _counts(satisfied, edges), strict=True)
        ],
        by_product=_by_product(con, f"median({column})", column, f"{column} <= {low!r}", f"{column} > {high!r}"),
    )


def _of_category(con: duckdb.DuckDBPyConnection, name: str, histogram: Categories, rows: int) -> Exploration:
    column = f"nullif({quoted(name)}, {literal(MISSING)})"
    found = con.execute(
        f"SELECT {column} AS value, count(*) AS rows, count(*) FILTER ({quoted(LABEL)}) AS satisfied FROM train"
        " GROUP BY value HAVING value IS NOT NULL ORDER BY rows DESC, value"
    ).fetchall()
    listed, others = found[:MOST_BINS], found[MOST_BINS:]
    bins = [_bin(value, count, satisfied) for value, count, satisfied in listed]
    if others:
        bins.append(_bin(f"{len(others):,} others", sum(row[1] for row in others), sum(row[2] for row in others)))
    commonest = found[0][0] if found else MISSING
    return Exploration(
        name=name,
        kind="category",
        rows=rows,
        absent=histogram.missing,
        outliers=sum(count for _, count, _ in found if count < RARE * rows),
        contrast=(commonest, "any other"),
        summary=[("categories", f"{len(found):,}")],
        distribution=[],
        span=("", ""),
        bins=bins,
        by_product=_by_product(
            con, f"mode({column})", column, f"{column} = {literal(commonest)}", f"{column} <> {literal(commonest)}"
        ),
    )


def _by_product(con: duckdb.DuckDBPyConnection, typical: str, column: str, low: str, high: str) -> list[OfProduct]:
    """Return the largest products, then all others together."""
    found = con.execute(
        f"""
        WITH largest AS (
            SELECT product_id FROM train GROUP BY product_id ORDER BY count(*) DESC, product_id LIMIT {MOST_PRODUCTS}
        )
        SELECT
            largest.product_id, count(*) AS rows, 1 - count({column}) / count(*), {typical},
            avg({quoted(LABEL)}::INTEGER) FILTER ({low}), avg({quoted(LABEL)}::INTEGER) FILTER ({high})
        FROM train LEFT JOIN largest ON train.product_id = largest.product_id
        GROUP BY largest.product_id
        ORDER BY largest.product_id IS NULL, rows DESC, largest.product_id
        """
    ).fetchall()
    return [
        OfProduct(product, rows, absent, value if isinstance(value, str) else _number(value), below, above)
        for product, rows, absent, value, below, above in found
    ]


def _histogram(column: str, edges: list[float]) -> str:
    return f"histogram({column}::DOUBLE, [{', '.join(map(repr, edges))}]::DOUBLE[])"


def _counts(by_edge: dict[float, int] | None, edges: list[float]) -> list[int]:
    return [(by_edge or {}).get(edge, 0) for edge in [*edges, float("inf")]]


def _bin(words: str, rows: int, satisfied: int) -> Bin:
    return Bin(words, rows, satisfied / rows if rows else None)


def _number(value: float | None) -> str:
    """Return a number with up to four digits that count; a dash for none."""
    if value is None:
        return "\N{EN DASH}"
    digits = f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.4g}"
    return digits.replace("-", "\N{MINUS SIGN}")
