"""Histograms by SQL: a version's training profile, and other rows counted in the same bins.

The bins are chosen once, on training data: bins of equal mass for a number, the most frequent values for a category.
All columns are counted in one pass. Entry points: `profile` and `count_in_bins`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.duck import connection, literal, quoted
from pipeline.models.bundle import Feature
from pipeline.models.profile import Categories, Histogram, Numbers, Profile
from pipeline.models.scoring.columns import MISSING
from pipeline.settings import Settings

BINS = 20
MOST_CATEGORIES = 50
"""Only this many categories, the most frequent, have a bin of their own."""


def profile(
    settings: Settings, rows: pa.Table, features: Sequence[Feature], satisfaction: NDArray[np.floating[Any]]
) -> Profile:
    """Return the profile of the train weeks' `rows`, and of a version's predictions for rows it was not fitted on."""
    with connection(settings) as con:
        con.register("train", rows)
        con.register("scored", pa.table({"satisfaction": satisfaction}))
        bins = {feature.name: _bins(con, "train", feature.name, feature.kind) for feature in features}
        predictions = count_in_bins(con, "scored", {"satisfaction": _bins(con, "scored", "satisfaction", "number")})
        counted = count_in_bins(con, "train", bins)
        return Profile.model_validate({"rows": rows.num_rows, "features": counted, **predictions})


def count_in_bins(con: duckdb.DuckDBPyConnection, table: str, bins: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """Return the histograms of a table's columns, by column, in the bins of the given histograms."""
    queries = ", ".join(_query(quoted(name), histogram) for name, histogram in bins.items())
    row = con.execute(f"SELECT count(*), {queries} FROM {quoted(table)}").fetchall()[0]
    found = zip(bins.items(), row[1::2], row[2::2], strict=True)
    return {name: _filled(histogram, row[0], known, by_bin or {}) for (name, histogram), known, by_bin in found}


def histogram_query(column: str, edges: Sequence[float]) -> str:
    """Return SQL for the rows of a number in each bin; `bin_counts` reads its result."""
    return f"histogram({column}::DOUBLE, [{', '.join(map(repr, edges))}]::DOUBLE[])"


def bin_counts(by_edge: Mapping[float, int] | None, edges: Sequence[float]) -> list[int]:
    """Return the rows up to each edge, and beyond the last one, from the result of `histogram_query`."""
    return [(by_edge or {}).get(edge, 0) for edge in [*edges, float("inf")]]


def _query(column: str, histogram: Histogram) -> str:
    """Return SQL for how many values are known, and how many fall into each bin."""
    if isinstance(histogram, Numbers):
        return f"count({column}), {histogram_query(column, histogram.edges)}"
    known = f"nullif({column}, {literal(MISSING)})"
    listed = f"[{', '.join(map(literal, histogram.counts))}]::VARCHAR[]"
    return f"count({known}), histogram(list_position({listed}, {known}))"


def _filled(histogram: Histogram, rows: int, known: int, by_bin: dict[Any, int]) -> Histogram:
    if isinstance(histogram, Numbers):
        counts = bin_counts(by_bin, histogram.edges)
        return Numbers(edges=histogram.edges, counts=counts, missing=rows - known)
    listed = {name: by_bin.get(number, 0) for number, name in enumerate(histogram.counts, 1)}
    return Categories(counts=listed, other=known - sum(listed.values()), missing=rows - known)


def _bins(con: duckdb.DuckDBPyConnection, table: str, name: str, kind: Literal["number", "category"]) -> Histogram:
    """Return an empty histogram with bins for a column."""
    column = quoted(name)
    if kind == "category":
        most_frequent = con.execute(
            f"SELECT {column}, count(*) AS frequency FROM {table} WHERE {column} <> {literal(MISSING)}"
            f" GROUP BY ALL ORDER BY frequency DESC, {column} LIMIT {MOST_CATEGORIES}"
        ).fetchall()
        return Categories(counts=dict.fromkeys((value for value, _ in most_frequent), 0), other=0, missing=0)
    shares = [number / BINS for number in range(1, BINS + 1)]
    quantiles = con.execute(f"SELECT quantile_disc({column}::DOUBLE, {shares}) FROM {table}").fetchall()[0][0]
    edges = sorted(set(quantiles))[:-1]  # above the highest value there is nothing to count
    return Numbers(edges=edges, counts=[0] * (len(edges) + 1), missing=0)
