"""Results in every format with any text, streamed, also while their job is swept."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.batch_jobs.completion import RESULTS_SCHEMA
from pipeline.batch_jobs.result_formats import BLOCK_BYTES, FORMS, stream_results

AWKWARD = ["plain", 'q"uo\\te', "comma, and\nline", "ünï ✓ \U0001f600", "", None, "=1+1"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        {
            "row": n,
            "customer_id": AWKWARD[n % len(AWKWARD)],
            "satisfaction": None if n % 5 == 4 else n / 20_000,
            "likely_satisfied": n % 2 == 0,
            "role": "champion",
        }
        for n in range(20_000)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA), tmp_path / "r.parquet", row_group_size=9_000)
    return tmp_path / "r.parquet"


def test_all_forms_say_the_same(results):
    expected = pq.read_table(results).to_pylist()
    said = {form: b"".join(stream_results(results, form)) for form in FORMS}
    assert pq.read_table(pa.BufferReader(said["parquet"])).to_pylist() == expected
    assert [json.loads(line) for line in said["jsonlines"].splitlines()] == expected
    in_csv = list(csv.DictReader(io.StringIO(said["csv"].decode(), newline="")))
    assert list(in_csv[0]) == RESULTS_SCHEMA.names
    assert [row["customer_id"] for row in in_csv] == [row["customer_id"] or "" for row in expected]
    assert [float(row["satisfaction"] or -1) for row in in_csv] == [
        -1 if row["satisfaction"] is None else row["satisfaction"] for row in expected
    ]


@pytest.mark.parametrize("form", FORMS)
def test_it_comes_in_pieces_and_outlives_the_file(results, form):
    whole = b"".join(stream_results(results, form))
    pieces = stream_results(results, form)
    first = next(pieces)
    results.unlink()
    rest = list(pieces)
    assert b"".join([first, *rest]) == whole
    assert max(map(len, [first, *rest])) <= 4 * BLOCK_BYTES


@pytest.mark.parametrize("form", FORMS)
def test_nothing_that_is_gone_is_handed_out(tmp_path, form):
    with pytest.raises(FileNotFoundError):
        stream_results(tmp_path / "gone.parquet", form)


def test_no_rows_are_a_header(tmp_path):
    pq.write_table(RESULTS_SCHEMA.empty_table(), tmp_path / "r.parquet")
    assert b"".join(stream_results(tmp_path / "r.parquet", "csv")) == (",".join(RESULTS_SCHEMA.names) + "\n").encode()
    assert b"".join(stream_results(tmp_path / "r.parquet", "jsonlines")) == b""
