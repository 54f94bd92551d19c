"""The same arguments give the same bytes; more weeks add files; more customers need no more memory."""

import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.sample import ensure, generate, population, summary
from pipeline.errors import ConfigError
from pipeline.files import sha256_of_file
from tests.sample.conftest import END, SEED

# by name, because the package's functions hide its modules of the same name
generating = sys.modules["examples.sample.generate"]


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small(monkeypatch):
    """Chunks of 100 customers, and a default sample of 250 over 5 weeks."""
    monkeypatch.setattr(population, "CHUNK_CUSTOMERS", 100)
    monkeypatch.setattr(generating, "CHUNK_CUSTOMERS", 100)
    monkeypatch.setattr(generating, "DEFAULT_CUSTOMERS", 250)
    monkeypatch.setattr(generating, "DEFAULT_WEEKS", 5)


def test_same_arguments_same_bytes(tmp_path, small):
    generate(tmp_path / "a", 250, 5, SEED, END)
    generate(tmp_path / "b", 250, 5, SEED, END)
    generate(tmp_path / "c", 250, 5, SEED + 1, END)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")
    packed = list((tmp_path / "a").rglob("*.gz"))
    assert {path.read_bytes()[3:8] for path in packed} == {bytes(5)}  # neither a name nor a time in gzip's header


def test_chunks_are_other_customers(tmp_path, small):
    generate(tmp_path / "out", 250, 5, SEED, END)
    customers = pq.read_table(tmp_path / "out/customers.parquet")
    assert len(set(customers["customer_id"].to_pylist())) == len(customers) > 200
    numbers = [int(text[1:]) for text in customers["customer_id"].to_pylist()]
    segments = dict(zip(numbers, customers["segment"].to_pylist(), strict=True))
    assert sum(segments.get(number) != segments.get(number + 100) for number in range(1, 101)) > 20


def test_memory_does_not_grow_with_customers(tmp_path, small, monkeypatch):
    monkeypatch.setattr(summary, "_LOGISTIC_ROWS", 100)
    peaks = []
    for customers in (300, 300, 2_400):
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        generate(tmp_path / "out", customers, 3, SEED, END)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pa.total_allocated_bytes() - before < 1_000_000
    assert peaks[2] < 1.5 * peaks[1]


def test_files_of_an_earlier_sample_are_replaced(tmp_path, small):
    generate(tmp_path / "out", 250, 5, SEED, END)
    generate(tmp_path / "out", 100, 2, SEED, END)
    generate(tmp_path / "fresh", 100, 2, SEED, END)
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "fresh"}, "nothing is left beside a sample"


def test_a_folder_of_other_files_is_refused(tmp_path, small):
    (tmp_path / "orders.csv").write_text("mine")
    with pytest.raises(ConfigError, match="contains files that are not a sample"):
        generate(tmp_path, 100, 2, SEED, END)
    assert digests(tmp_path).keys() == {"orders.csv"}


@pytest.mark.parametrize("numbers", [(0, 2, 1), (10, 0, 1), (10, 201, 1), (10, 2, -1)])
def test_numbers_out_of_range_are_refused(tmp_path, numbers):
    with pytest.raises(ConfigError, match="at least one customer"):
        generate(tmp_path / "out", *numbers, END)


NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


def test_ensure_makes_then_leaves_then_lengthens(tmp_path, small):
    out = tmp_path / "deep" / "landing"
    made = ensure(out, NOW)
    assert (made.first_week, made.last_week, made.customers) == (END.plus(-4), END, 250)
    before = digests(out)
    assert ensure(out, NOW) is None
    assert digests(out) == before
    longer = ensure(out, NOW + timedelta(weeks=2))
    assert (longer.first_week, longer.last_week) == (END.plus(-4), END.plus(2))
    after = digests(out)
    assert len(after) == len(before) + 2 * 4
    assert {name: after[name] for name in before if "/" in name} == {n: d for n, d in before.items() if "/" in n}


@pytest.mark.parametrize("replaced", [1, 12, 25, 31])
def test_ensure_mends_a_lengthening_that_was_killed(tmp_path, small, monkeypatch, replaced):
    ensure(tmp_path / "whole", NOW)
    ensure(tmp_path / "whole", NOW + timedelta(weeks=2))
    out = tmp_path / "out"
    ensure(out, NOW)
    replace, calls = Path.replace, count()

    def dies_on_the_way(path: Path, target: Path) -> Path:
        if next(calls) == replaced:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dies_on_the_way)
        with pytest.raises(KeyboardInterrupt):
            ensure(out, NOW + timedelta(weeks=2))
    ensure(out, NOW + timedelta(weeks=2))
    assert digests(out) == digests(tmp_path / "whole")


def test_ensure_leaves_a_company_s_own_files(tmp_path, small):
    (tmp_path / "orders.csv").write_text("mine")
    assert ensure(tmp_path, NOW) is None
    assert digests(tmp_path).keys() == {"orders.csv"}
