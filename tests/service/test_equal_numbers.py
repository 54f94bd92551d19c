"""Batch scoring from Parquet and every request form of every contract give equal numbers for the same 10,000 rows."""

import os
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.files import sha256_of_file
from pipeline.models.bundle import BUNDLE_FILE
from pipeline.settings import Settings
from pipeline.weekly.score import score
from tests.company import company_settings
from tests.handmade import make_plan, make_quarantine, make_snapshot
from tests.service.asking import EVERY_WAY, FEATURES, WAYS, Row

ROWS = 10_000
REQUESTS = (1, 2, 63, 64, 65, 900, 8905)
"""Rows of each request, around the size from which a request is a batch of its own; the last one is `service.rows`."""
assert sum(REQUESTS) == ROWS
KINDS = ["a", "b", "c", None, "never seen", "ünïcode ✓ \U0001f600", 'quo"te, comma', " ", "a ", "NaN", "null", "1"]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Features of every type that a snapshot may have, missing ones among them, and numbers that no float32 holds."""
    random = np.random.default_rng(11)
    amounts = random.normal(10, 1000, ROWS) ** 3
    amounts[:6] = [0.1, -0.0, 5e-324, 3e38, -3e38, 16777217.0]
    return pa.table(
        {
            "customer_id": [f"c{row}" for row in range(ROWS)],
            "product_id": [f"p{row % 3}" for row in range(ROWS)],
            "events": pa.array(random.integers(-3, 60, ROWS), mask=random.random(ROWS) < 0.1),
            "amount": pa.array(amounts, mask=random.random(ROWS) < 0.1),
            "is_busy": pa.array(random.random(ROWS) < 0.5, mask=random.random(ROWS) < 0.1),
            "kind": pa.array(random.choice(np.array(KINDS, dtype=object), ROWS), pa.string()),
        }
    )


@pytest.fixture(scope="module")
def rows(table: pa.Table) -> list[Row]:
    return [*zip(*(table.column(name).to_pylist() for name in FEATURES), strict=True)]


@pytest.fixture(scope="module")
def by_batch(table: pa.Table, model_folder: Path, company: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The weekly run's scores of them."""
    settings: Settings = company_settings(company, tmp_path_factory.mktemp("batch"))
    digest = sha256_of_file(model_folder / BUNDLE_FILE)
    plan = make_plan(settings).model_copy(update={"bundle": model_folder, "bundle_digest": digest})
    snapshot = make_snapshot(settings.home / "snapshot", [table])
    scored = score(settings, plan, snapshot, make_quarantine(plan.folder / "quarantine.parquet", []), 0)
    return pq.read_table(scored.file)


@pytest.fixture(scope="module")
def clients(serve) -> Iterator[dict[str, httpx.Client]]:
    """A client of a service of each contract."""
    assert not [name for name in os.environ if name.startswith("AIP_")]
    servers = {contract: serve(contract=contract, rows=max(REQUESTS)) for contract in WAYS}
    found = {contract: httpx.Client(base_url=server.url, timeout=30) for contract, server in servers.items()}
    yield found
    for client in found.values():
        client.close()


@pytest.mark.parametrize(("contract", "way"), EVERY_WAY)
def test_every_way_to_ask_gives_the_numbers_of_the_batch(
    contract: str, way: str, clients: dict[str, httpx.Client], rows: list[Row], by_batch: pa.Table
) -> None:
    found = []
    for start, stop in pairwise(accumulate(REQUESTS, initial=0)):
        found += WAYS[contract][way](clients[contract], rows[start:stop])
    assert len(found) == ROWS
    satisfaction = np.array([row["satisfaction"] for row in found])
    np.testing.assert_allclose(satisfaction, by_batch.column("satisfaction").to_numpy(), rtol=0, atol=1e-6)
    assert [row["satisfied"] for row in found] == by_batch.column("likely_satisfied").to_pylist()
    assert {row["model_version"] for row in found} == {"7"}


def test_the_rows_tell_features_apart(by_batch: pa.Table, rows: list[Row]) -> None:
    """Otherwise a value that is swapped, lost or misread would not change the numbers."""
    satisfaction = by_batch.column("satisfaction").to_numpy()
    assert len(set(satisfaction.tolist())) > 100
    for at, name in enumerate(FEATURES):
        missing = np.array([row[at] is None for row in rows])
        assert 500 < missing.sum() < 2000, name
        assert abs(satisfaction[missing].mean() - satisfaction[~missing].mean()) > 0.001, name
