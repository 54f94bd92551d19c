"""The training profile: bins of equal mass, every row in one of them, and the same bins for other rows."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipeline.models.bundle import Feature
from pipeline.models.histograms import BINS, MOST_CATEGORIES, count_in_bins, profile
from pipeline.models.profile import Categories, Numbers, Profile
from pipeline.settings import Settings

HARD = ["", "it's", "[1]", "ü 日本"]
FEATURES = [
    Feature(name="amount", kind="number"),
    Feature(name="is busy", kind="number"),
    Feature(name="always", kind="number"),
    Feature(name='a "kind"', kind="category"),
    Feature(name="many", kind="category"),
]


@pytest.fixture
def rows() -> pa.Table:
    random = np.random.default_rng(7)
    amount = random.lognormal(3, 2, 1000).astype("float32")
    kinds = [HARD[n % 4] if n % 10 else None for n in range(1000)]
    return pa.table(
        {
            "amount": pa.array(np.where(random.random(1000) < 0.1, np.nan, amount), pa.float32(), from_pandas=True),
            "is busy": pa.array(random.random(1000) < 0.3).cast(pa.float32()),
            "always": np.full(1000, 3, "float32"),
            'a "kind"': kinds,
            "many": [f"m{min(n % 100, n % 77)}" if n % 50 else "__missing__" for n in range(1000)],
        }
    )


@pytest.fixture
def known(settings: Settings, rows: pa.Table) -> Profile:
    return profile(settings, rows, FEATURES, np.random.default_rng(1).beta(4, 2, 300))


def test_every_row_is_counted_once(known: Profile, rows: pa.Table):
    assert list(known.features) == [feature.name for feature in FEATURES]
    for name, histogram in known.features.items():
        counts = histogram.counts
        total = sum(counts) if isinstance(histogram, Numbers) else sum(counts.values()) + histogram.other
        assert total + histogram.missing == known.rows == rows.num_rows, name
    assert sum(known.satisfaction.counts) == 300
    assert known.features["amount"].missing == rows["amount"].null_count


def test_a_numbers_bins_are_of_equal_mass_as_far_as_its_values_allow(known: Profile):
    amount = known.features["amount"]
    assert isinstance(amount, Numbers)
    assert len(amount.counts) == BINS == len(amount.edges) + 1
    assert max(amount.counts) - min(amount.counts) <= 2
    assert known.features["is busy"].edges == [0.0]
    assert known.features["always"] == Numbers(edges=[], counts=[1000], missing=0)
    assert all(
        count for histogram in known.features.values() if isinstance(histogram, Numbers) for count in histogram.counts
    )


def test_categories_are_the_most_frequent_ones_and_all_others(known: Profile, rows: pa.Table):
    kind, many = known.features['a "kind"'], known.features["many"]
    assert isinstance(kind, Categories)
    assert isinstance(many, Categories)
    assert kind.counts == {value: rows['a "kind"'].to_pylist().count(value) for value in HARD}
    assert (kind.other, kind.missing) == (0, 100)
    assert len(many.counts) == MOST_CATEGORIES
    assert list(many.counts.values()) == sorted(many.counts.values(), reverse=True)
    assert many.other > 0
    assert many.missing == 20, "what stands for an absent category is one"


def test_other_rows_are_counted_in_the_same_bins(known: Profile):
    con = duckdb.connect()
    week = {
        "amount": pa.array([None, -5, np.inf], pa.float32()),
        "is busy": pa.array([1, 7, 0], pa.float32()),
        "always": pa.array([3, 3, 9], pa.float32()),
        'a "kind"': ["new", None, "it's"],
        "many": ["m0", None, "m0"],
    }
    con.register("week", pa.table(week))
    found = count_in_bins(con, "week", known.features)
    amount = known.features["amount"]
    assert found["amount"] == Numbers(edges=amount.edges, counts=[1, *[0] * (BINS - 2), 1], missing=1)
    assert found["is busy"] == Numbers(edges=[0.0], counts=[1, 2], missing=0)
    assert found["always"].counts == [3]
    assert (found['a "kind"'].counts["it's"], found['a "kind"'].other, found['a "kind"'].missing) == (1, 1, 1)
    assert found["many"].counts["m0"] == 2
    con.register("empty", pa.table(week).slice(0, 0))
    assert count_in_bins(con, "empty", known.features)["amount"].counts == [0] * BINS


def test_it_is_stored_as_it_is(known: Profile):
    assert Profile.model_validate_json(known.model_dump_json()) == known
