"""Facts from after the cutoff, planted in every file, change nothing of the second company's past (invariant 4).

What could not be known is said here once more, by the columns' meaning, and not taken from the configuration.
"""

import shutil
from collections.abc import Callable

import pandas as pd
import pytest

from pipeline.weeks import Week
from tests.leaks import Model, made, model_of
from tests.olist.conftest import CONFIG

WEEK = Week.parse("2018-03-26")
CUTOFF = "2018-04-02 00:00:00"
LATER = "2018-05-05 12:00:00"
STEPS = ["order_approved_at", "order_delivered_carrier_date", "order_delivered_customer_date"]

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def model(olist, tmp_path_factory) -> Model:
    return model_of(CONFIG, olist, tmp_path_factory.mktemp("model"), WEEK)


@pytest.fixture(scope="module")
def as_it_is(olist, tmp_path_factory, model) -> dict[str, str]:
    return made(CONFIG, olist, tmp_path_factory.mktemp("as it is") / "home", WEEK, model)


@pytest.fixture
def changed(olist, tmp_path, model):
    """What is made of the files after `change` was applied to their tables."""

    def make(change: Callable[[Tables], None]) -> dict[str, str]:
        landing = tmp_path / "landing"
        shutil.copytree(olist, landing, copy_function=shutil.copyfile)
        landing.chmod(0o755)
        tables = {file.stem: pd.read_csv(file, dtype=str) for file in landing.glob("*.csv")}
        change(tables)
        for name, table in tables.items():
            table.to_csv(landing / f"{name}.csv", index=False)
        return made(CONFIG, landing, tmp_path / "home", WEEK, model)

    return make


def test_all_that_came_later_may_be_otherwise(as_it_is, changed):
    def change(tables: Tables) -> None:
        add_a_future(tables)
        change_the_future(tables)

    assert changed(change) == as_it_is


def test_what_was_known_counts(as_it_is, changed):
    def change(tables: Tables) -> None:
        reviews, orders = tables["olist_order_reviews_dataset"], tables["olist_orders_dataset"]
        last_delivered = orders["order_delivered_customer_date"].between("2018-03-26", CUTOFF)
        orders.loc[last_delivered, "order_estimated_delivery_date"] = "2018-03-01 00:00:00"
        answered = reviews["review_answer_timestamp"].between("2018-03-20", CUTOFF)
        reviews.loc[answered, "review_score"] = "1"

    otherwise = changed(change)
    differing = {name.split()[0] for name in as_it_is if otherwise[name] != as_it_is[name]}
    assert differing == {"the", "features", "training", "predictions"}


def add_a_future(tables: Tables) -> None:
    """Plant new rows in every file: later orders of the same customers, of the same products, with reviews of 1."""
    orders = tables["olist_orders_dataset"]
    past = orders[orders["order_delivered_customer_date"] < CUTOFF].head(2000)
    again = past.assign(order_id="new" + past["order_id"], customer_id="new" + past["customer_id"])
    again["order_purchase_timestamp"] = CUTOFF
    again[STEPS] = LATER
    same_customers = tables["olist_customers_dataset"].merge(past[["customer_id"]])
    same_customers["customer_id"] = "new" + same_customers["customer_id"]
    planted = {
        "olist_orders_dataset": again,
        "olist_customers_dataset": same_customers,
        **{
            name: tables[name].merge(past[["order_id"]]).assign(order_id=lambda rows: "new" + rows["order_id"])
            for name in ("olist_order_items_dataset", "olist_order_payments_dataset")
        },
        # a second opinion on an order that was reviewed before, and a first one on those that were not
        "olist_order_reviews_dataset": past[["order_id"]].assign(
            review_id="new" + past["order_id"],
            review_score="1",
            review_creation_date="2018-03-31 00:00:00",
            review_answer_timestamp=CUTOFF,
        ),
        "olist_products_dataset": tables["olist_products_dataset"].assign(
            product_id=lambda rows: "new" + rows["product_id"], product_category_name="brinquedos"
        ),
        "olist_sellers_dataset": tables["olist_sellers_dataset"].assign(
            seller_id=lambda rows: "new" + rows["seller_id"], seller_state="AM"
        ),
        "product_category_name_translation": pd.DataFrame(
            {"product_category_name": ["novidades"], "product_category_name_english": ["novelties"]}
        ),
    }
    assert planted.keys() == tables.keys()
    for name, rows in planted.items():
        tables[name] = pd.concat([tables[name], rows], ignore_index=True)


def change_the_future(tables: Tables) -> None:
    """Change every cell that became known later: steps of orders, answers, and all that hangs on later orders."""
    orders, reviews = tables["olist_orders_dataset"], tables["olist_order_reviews_dataset"]
    is_under_way = ~(orders["order_delivered_customer_date"] < CUTOFF)
    orders.loc[is_under_way, "order_status"] = "canceled"
    for step in STEPS:
        is_later = ~(orders[step] < CUTOFF)
        orders.loc[is_later, step] = LATER
    is_new = ~(orders["order_purchase_timestamp"] < CUTOFF)
    orders.loc[is_new, ["order_purchase_timestamp", "order_estimated_delivery_date"]] = [LATER, "2018-12-24 00:00:00"]
    is_later = ~(reviews["review_answer_timestamp"] < CUTOFF)
    reviews.loc[is_later, ["review_score", "review_comment_message"]] = ["1", "never again"]
    reviews.loc[is_later, "review_answer_timestamp"] = "2018-12-24 12:00:00"
    new_orders = orders.loc[is_new, "order_id"]
    for name, cells in (
        ("order_items", {"price": "999.99", "freight_value": "0.01"}),
        ("order_payments", {"payment_type": "voucher", "payment_installments": "24"}),
    ):
        table = tables[f"olist_{name}_dataset"]
        table.loc[table["order_id"].isin(new_orders), list(cells)] = list(cells.values())
