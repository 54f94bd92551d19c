"""The signature of a request: features of any name, in any order, with values as the batch reads them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ModelError, RequestError
from pipeline.models.bundle import Feature
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import LARGEST, Signature, number

FEATURES = [
    Feature(name="a b", kind="number"),
    Feature(name="größe", kind="number"),
    Feature(name="class", kind="category"),
]
SIGNATURE = Signature(FEATURES)
names = st.text(
    st.characters(min_codepoint=32, exclude_characters='"\\\x7f', exclude_categories=["Cs", "Cc"]), min_size=1
)


@given(st.lists(names, min_size=1, max_size=5, unique=True))
def test_a_request_can_name_every_name_that_a_query_may_give(given_names):
    signature = Signature(
        [Feature(name=name, kind="number") for name in given_names if name not in ("customer_id", "product_id")]
        or FEATURES
    )
    row = dict.fromkeys(signature.names, 1.5)
    if "class" in row and signature.features == tuple(FEATURES):
        row["class"] = "x"
    found = signature.fast(json.dumps({"instances": [row]}).encode(), 1)
    assert found is not None
    assert found.values == [tuple(row.values())]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_a_name_that_no_request_can_have_is_refused(name):
    with pytest.raises(ModelError, match="No request can name"):
        Signature([Feature(name=name, kind="number")])


@given(st.floats(-LARGEST, LARGEST))
def test_a_number_in_text_is_the_number(value):
    assert number(repr(value), "a b") == value


@pytest.mark.parametrize("cell", ["1_000", "nan", "inf", "-inf", "1e39", "12,5", "0x10", "one", "\u0661"])
def test_a_text_without_a_number_is_refused_with_its_field(cell):
    with pytest.raises(RequestError) as refused:
        number(cell, "a b")
    assert refused.value.field == "a b"


def test_the_snapshot_gives_what_is_left_out_and_replaces_nothing():
    asked = []

    def complete(customer_id, product_id, wanted):
        asked.append((customer_id, product_id, list(wanted)))
        return "2026-03-02", tuple({"a b": 7.0, "größe": None, "class": "old"}[name] for name in wanted)

    row = {"customer_id": "c", "product_id": "p", "class": None}
    found = Reader(SIGNATURE, complete=complete).objects([row, {"a b": 1, "größe": 2, "class": "x"}])
    assert found.values == [(7.0, None, None), (1.0, 2.0, "x")]
    assert found.weeks == {0: "2026-03-02"}
    assert asked == [("c", "p", ["a b", "größe"])]
    with pytest.raises(RequestError, match="the latest snapshot gives"):
        Reader(SIGNATURE, complete=lambda *_: ("2026-03-02", ("text", 1.0))).objects([row])
    with pytest.raises(RequestError) as refused:
        Reader(SIGNATURE, complete=complete).objects([{"a b": 1}])
    assert (refused.value.row, refused.value.field) == (0, "größe")
