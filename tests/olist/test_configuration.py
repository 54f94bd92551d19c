"""The second company's configuration fits its files: times, rejects, features and labels are what the files hold."""

from datetime import date

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.labels import known_labels
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week
from tests.leaks import settings_of, unknown_columns
from tests.olist.conftest import CONFIG

WEEK = Week.parse("2018-04-02")
WITHOUT_TIMES = {"customers", "products", "sellers", "category_names", "order_items", "order_payments"}


@pytest.fixture(scope="module")
def settings(olist, tmp_path_factory) -> Settings:
    return settings_of(CONFIG, olist, tmp_path_factory.mktemp("olist") / "home")


@pytest.fixture(scope="module")
def snapshot(settings) -> SnapshotManifest:
    path = build_snapshot(settings, WEEK, read_sources(settings, WEEK), settings.home / "snapshot")
    return SnapshotManifest.read(path)


@pytest.fixture(scope="module")
def features(settings, snapshot) -> pd.DataFrame:
    (file,) = snapshot.checked_files(settings.home / "snapshot")
    return pq.read_table(file).to_pandas()


@pytest.fixture(scope="module")
def sold(olist) -> pd.DataFrame:
    """Every item of every delivered order with its category and review, joined by pandas alone."""
    read = {file.stem: pd.read_csv(file, dtype=str) for file in olist.glob("*.csv")}
    sold = read["olist_orders_dataset"].merge(read["olist_customers_dataset"]).merge(read["olist_order_items_dataset"])
    products = read["olist_products_dataset"].merge(read["product_category_name_translation"], how="left")
    portuguese, english = products["product_category_name"], products["product_category_name_english"]
    products["category"] = english.fillna(portuguese).fillna("unknown")
    sold = sold.merge(products[["product_id", "category"]], on="product_id", how="left")
    reviews = read["olist_order_reviews_dataset"].sort_values("review_answer_timestamp").drop_duplicates("order_id")
    sold = sold.merge(reviews, on="order_id", how="left").dropna(subset="order_delivered_customer_date")
    delivered = pd.to_datetime(sold["order_delivered_customer_date"])
    return sold.assign(
        week=(delivered.dt.normalize() - pd.to_timedelta(delivered.dt.day_of_week, unit="D")).dt.date,
        price=sold["price"].astype(float),
    )


def test_the_variable_that_names_the_files_must_be_set(monkeypatch):
    from pipeline.errors import ConfigError
    from pipeline.settings import load_settings

    monkeypatch.delenv("OLIST_DATA", raising=False)
    settings = load_settings({"BAROMETER_CONFIG": str(CONFIG)})
    with pytest.raises(ConfigError, match="the environment variable OLIST_DATA is not set"):
        _ = settings.landing


@pytest.mark.parametrize(
    "file", sorted(CONFIG.parent.rglob("*.json")), ids=lambda file: f"{file.parent.name}/{file.stem}"
)
def test_suites_name_columns_that_are_there(file, settings, snapshot):
    assert unknown_columns(file, settings, snapshot) == set()


def test_the_manifest_names_the_sources_without_times(snapshot):
    assert {name for name, read in snapshot.sources.items() if read.timeless} == WITHOUT_TIMES


def test_every_column_is_declared_and_rejects_are_few(settings, snapshot):
    for name, read in snapshot.sources.items():
        assert read.undeclared_columns == []
        assert read.rejects <= settings.sources[name].reject_rows


def test_a_weeks_subjects_are_those_whose_order_was_delivered_in_it(features, sold):
    expected = (
        sold[sold["week"] == WEEK.monday].groupby(["customer_unique_id", "category"])["price"].agg(["sum", "size"])
    )
    made = features.set_index(["customer_id", "product_id"])[["price", "items"]].sort_index()
    assert len(made) > 100
    assert made.index.equals(expected.index)
    assert made["price"].to_numpy() == pytest.approx(expected["sum"].to_numpy(), rel=1e-6)
    assert (made["items"].to_numpy() == expected["size"].to_numpy()).all()


def test_labels_are_the_first_answers(settings, sold):
    labels = known_labels(settings, read_sources(settings, WEEK), WEEK.plus(8).cutoff(settings.zone))[0].to_pandas()
    labels = labels[labels["week"] == WEEK.monday].set_index(["customer_id", "product_id"])["satisfied"].sort_index()
    answered = sold[(sold["week"] == WEEK.monday) & sold["review_answer_timestamp"].lt("2018-06-04")]
    first = answered.sort_values("review_answer_timestamp").groupby(["customer_unique_id", "category"])["review_score"]
    expected = first.first().astype(int) >= 4
    assert len(expected) > 100
    assert labels.index.equals(expected.index)
    assert (labels == expected).all()


def test_a_label_waits_for_the_parcel_and_the_answer(settings):
    sources = read_sources(settings, WEEK)
    early, late = (known_labels(settings, sources, WEEK.plus(n).cutoff(settings.zone))[0].to_pandas() for n in (0, 4))
    of_week = [(labels["week"] == WEEK.monday).sum() for labels in (early, late)]
    assert 0 < of_week[0] < of_week[1]
    assert max(early["week"]) == WEEK.monday
    assert isinstance(early["week"].iloc[0], date)
