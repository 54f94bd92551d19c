"""Parquet: values of any type go through text to the declared type; damage is refused."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SourceError
from tests.feeds import bad, feed_settings, good, read


def parquet(**columns: Any) -> bytes:
    file = BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_rows_and_rejects(tmp_path: Path) -> None:
    content = parquet(id=["a", "b", None], amount=[1.5, float("nan"), None], more=[[1], [2], [3]])
    settings = feed_settings(tmp_path, content, name="feed.parquet")
    assert good(settings) == [(1, "a", 1.5), (3, None, None)]
    assert bad(settings) == [(2, "amount: 'nan' is not a number", '{"id":"b","amount":NaN,"more":[2]}')]
    assert read(settings).undeclared_columns == ["more"]


def test_types_of_its_own(tmp_path: Path) -> None:
    columns = {
        "id": "integer",
        "price": "decimal(12,2)",
        "day": "date",
        "local": "timestamp",
        "instant": "timestamp",
        "flag": "boolean",
        "kind": "text",
    }
    content = parquet(
        id=pa.array([225.0]),
        price=pa.array([0.1 + 0.2]),  # a binary float holds no decimal exactly
        day=pa.array([datetime.fromisoformat("2026-03-02")], pa.timestamp("ns")),
        local=pa.array([datetime.fromisoformat("2026-03-02 10:00")], pa.timestamp("ns")),
        instant=pa.array([datetime(2026, 3, 2, 10, tzinfo=UTC)], pa.timestamp("ms", "America/New_York")),
        flag=pa.array([True]),
        kind=pa.array(["x"]).dictionary_encode(),
    )
    declared = 'timestamp_format = "%d/%m/%Y"\ndate_format = "%d/%m/%Y"'  # for columns of text only
    settings = feed_settings(tmp_path, content, name="feed.parquet", columns=columns, declared=declared)
    assert bad(settings) == []
    assert good(settings) == [
        (1, 225, "0.30", "2026-03-02", "2026-03-02 09:00:00+00", "2026-03-02 10:00:00+00", True, "x")
    ]


def test_a_value_of_the_declared_type_is_what_its_text_would_be(tmp_path: Path) -> None:
    content = parquet(
        id=pa.array([1, None, -128, 127], pa.int8()),
        day=pa.array([20_000, None, 2_932_897, -719_163], pa.int32()).cast(pa.date32()),  # the third is in 10000
        at=pa.array([0, None, 0, -(10**17)]).cast(pa.timestamp("us", "UTC")),  # the last is before the year 1
        flag=pa.array([True, None, False, True]),
    )
    columns = {"id": "integer", "day": "date", "at": "timestamp", "flag": "boolean"}
    exact, text = (
        feed_settings(tmp_path / name, content, "feed.parquet", columns, f'null_values = ["", "{name}"]'[:end])
        for name, end in (("exact", 0), ("text", None))
    )
    assert (good(exact), bad(exact)) == (good(text), bad(text))
    assert [line for line, *_ in bad(exact)] == [3, 4]


def test_types_unknown_to_the_engine(tmp_path: Path) -> None:
    content = parquet(
        id=pa.array([Decimal("1.5")], pa.decimal256(60, 1)), amount=pa.array([np.float16(0.5)]), day=[date(2026, 1, 1)]
    )
    assert good(feed_settings(tmp_path, content, name="feed.parquet")) == [(1, "1.5", 0.5)]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    broken = pa.array([b"ok", b"M\xfc", None], pa.binary()).view(pa.string())
    settings = feed_settings(tmp_path, parquet(id=broken, amount=[1, 2, 3]), name="feed.parquet")
    assert good(settings) == [(1, "ok", 1.0), (3, None, 3.0)]
    assert [reason for _, reason, _ in bad(settings)] == [r"id: 'M\xfc' is not text in UTF-8"]


def test_text_without_a_mark_that_it_is_text(tmp_path: Path) -> None:
    content = parquet(id=pa.array(["Müller".encode(), b"a\\", None, b"M\xfc"]), amount=[1, 2, 3, 4])
    settings = feed_settings(tmp_path, content, name="feed.parquet")
    assert good(settings) == [(1, "Müller", 1.0), (2, "a\\", 2.0), (3, None, 3.0)]
    assert [reason for _, reason, _ in bad(settings)] == [r"id: 'M\xfc' is not text in UTF-8"]


def test_inside_gzip(tmp_path: Path) -> None:
    content = gzip.compress(parquet(id=["a"], amount=[1]))
    assert good(feed_settings(tmp_path, content, name="feed.parquet.gz")) == [(1, "a", 1.0)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "cannot be read as Parquet"),
        (b"id,amount\na,1\n", "cannot be read as Parquet"),
        (parquet(id=["a"] * 1000, amount=list(range(1000)))[:500], "cannot be read as Parquet"),
        (parquet(id=["a"]), "has no column 'amount'"),
        (parquet(id=["a"], amount=[1], **{f"c{n}": [1] for n in range(999)}), "has 1001 columns"),
        (parquet(id=[["a"]], amount=[1]), r"feed\.parquet has nested values in the column 'id' \(list<"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, found: str) -> None:
    with pytest.raises(SourceError, match=found):
        read(feed_settings(tmp_path, content, name="feed.parquet"))


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    content = bytearray(parquet(id=[f"customer {n}" for n in range(10_000)], amount=list(range(10_000))))
    content[200:4000] = bytes(3800)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        read(feed_settings(tmp_path, bytes(content), name="feed.parquet"))
