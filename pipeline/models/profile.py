"""The training profile: how each feature and the predictions were distributed, for drift to be measured against.

Stored as `profile.json` with a version. Bins are chosen once, on training data: of equal mass for a number, the most
frequent values for a category. Whoever compares other rows with it counts them in the same bins, by `counted`, which is
one pass of SQL whatever the number of columns. Entry points: `profile` and `counted`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.duck import connection, literal, quoted
from pipeline.models.bundle import Feature
from pipeline.models.scorer import MISSING
from pipeline.settings import Settings

PROFILE_FILE = "profile.json"
BINS = 20
MOST_CATEGORIES = 50
"""Categories beyond the so many most frequent ones are counted together."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Numbers(_Part):
    """A histogram of a number."""

    kind: Literal["number"] = "number"
    edges: list[float]
    """Where one bin ends and the next begins, ascending; a bin holds its upper end. The outer bins are open."""
    counts: list[int]
    """One more than edges. None is 0 on the rows that the bins were chosen on."""
    missing: int


class Categories(_Part):
    """A histogram of a category."""

    kind: Literal["category"] = "category"
    counts: dict[str, int]
    """By category; the most frequent first on the rows that they were chosen on."""
    other: int
    """Rows of all categories that are not listed."""
    missing: int


Histogram = Annotated[Numbers | Categories, Field(discriminator="kind")]


class Profile(_Part):
    """The content of `profile.json`."""

    rows: int
    """Of the train weeks."""
    features: dict[str, Histogram]
    """On the train weeks."""
    satisfaction: Numbers
    """Of subjects that fitting has not seen, since a model is surer of those it has."""


def profile(
    settings: Settings, rows: pa.Table, features: Sequence[Feature], satisfaction: NDArray[np.floating[Any]]
) -> Profile:
    """Return the profile of a version.

    Parameters
    ----------
    settings
        The settings.
    rows
        The train weeks' rows, as `pipeline.training.training_set.read_weeks` returns them.
    features
        The signature.
    satisfaction
        The version's predictions for rows that it was not fitted on; shape (any,).
    """
    with connection(settings) as con:
        con.register("train", rows)
        con.register("scored", pa.table({"satisfaction": satisfaction}))
        bins = {feature.name: _bins(con, "train", feature.name, feature.kind) for feature in features}
        predictions = counted(con, "scored", {"satisfaction": _bins(con, "scored", "satisfaction", "number")})
        assert isinstance(predictions["satisfaction"], Numbers)
        return Profile(
            rows=rows.num_rows, features=counted(con, "train", bins), satisfaction=predictions["satisfaction"]
        )


def counted(con: duckdb.DuckDBPyConnection, table: str, bins: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """Return the histograms of a table's columns in these bins.

    Parameters
    ----------
    con
        Where the table is.
    table
        Its name.
    bins
        Histograms of any rows, by the column's name; only their bins are used.
    """
    queries = ", ".join(_query(quoted(name), histogram) for name, histogram in bins.items())
    row = con.execute(f"SELECT count(*), {queries} FROM {quoted(table)}").fetchall()[0]
    found = zip(bins.items(), row[1::2], row[2::2], strict=True)
    return {name: _filled(histogram, row[0], known, by_bin or {}) for (name, histogram), known, by_bin in found}


def _query(column: str, histogram: Histogram) -> str:
    """Return SQL for how many values are known, and how many fall into each bin."""
    if isinstance(histogram, Numbers):
        edges = f"[{', '.join(map(repr, histogram.edges))}]::DOUBLE[]"
        return f"count({column}), histogram({column}::DOUBLE, {edges})"
    known = f"nullif({column}, {literal(MISSING)})"
    listed = f"[{', '.join(map(literal, histogram.counts))}]::VARCHAR[]"
    return f"count({known}), histogram(list_position({listed}, {known}))"


def _filled(histogram: Histogram, rows: int, known: int, by_bin: dict[Any, int]) -> Histogram:
    if isinstance(histogram, Numbers):
        counts = [by_bin.get(edge, 0) for edge in [*histogram.edges, float("inf")]]
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
    edges = sorted(set(quantiles))[:-1]  # the highest value ends no bin: above it nothing would be counted
    return Numbers(edges=edges, counts=[0] * (len(edges) + 1), missing=0)
