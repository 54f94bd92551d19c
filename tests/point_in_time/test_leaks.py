"""Nothing from the cutoff on changes a snapshot: planted rows, changed cells, later arrivals (invariant 4)."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings, load_settings
from pipeline.sources.week_sources import read_sources
from tests.feeds import WEEK

CUTOFF = "2026-03-09 00:00:00"  # local; the week's end

CONFIG = """
timezone = "Europe/Berlin"
[paths]
landing = "landing"
[sources.visits]
path = "visits.csv"
event_time = "happened_at"
[sources.visits.columns]
customer_id = "text"
happened_at = "timestamp"
amount = "decimal(12,2)"
[sources.imports]
path = "imports.csv"
arrived_at = "loaded_at"
[sources.imports.columns]
customer_id = "text"
points = "integer"
loaded_at = "timestamp"
[sources.orders]
path = "orders.jsonl"
event_time = "ordered_on"
[sources.orders.columns]
customer_id = "text"
ordered_on = "date"
state = { type = "text", known_at = "settled_at" }
settled_at = "timestamp"
"""

SQL = """
SELECT
    customer_id,
    'p' AS product_id,
    count(*) AS visits,
    max(visits.happened_at)::VARCHAR AS info_last,
    any_value((SELECT sum(points) FROM imports WHERE imports.customer_id = visits.customer_id)) AS points,
    any_value((SELECT count(*) FROM orders WHERE orders.customer_id = visits.customer_id)) AS orders,
    any_value((SELECT max(state) FROM orders WHERE orders.customer_id = visits.customer_id)) AS state,
    any_value((SELECT count(settled_at) FROM orders WHERE orders.customer_id = visits.customer_id)) AS settled
FROM visits
GROUP BY customer_id
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Folder of a shop with thirty customers, as it was in the week."""
    folder = tmp_path / "shop"
    (folder / "landing").mkdir(parents=True)
    (folder / "sql").mkdir()
    (folder / "sql/features.sql").write_text(SQL)
    (folder / "pipeline.toml").write_text(CONFIG)
    visits = "".join(f"c{n % 30},2026-03-0{1 + n % 8} 23:59:59,{n}\n" for n in range(100))
    imports = "".join(f"c{n % 30},{n},2026-03-08 23:59:59.999999\n" for n in range(100))
    orders = [
        {"customer_id": f"c{n % 30}", "ordered_on": f"2026-03-0{1 + n % 8}", "state": "paid", "settled_at": CUTOFF}
        for n in range(100)
    ]
    (folder / "landing/visits.csv").write_text("customer_id,happened_at,amount\n" + visits)
    (folder / "landing/imports.csv").write_text("customer_id,points,loaded_at\n" + imports)
    (folder / "landing/orders.jsonl").write_text("".join(json.dumps(order) + "\n" for order in orders))
    return folder


def digest(shop: Path) -> str:
    """Return the digest of the week's snapshot, made in a fresh home."""
    home = shop / "home"
    settings: Settings = load_settings({"BAROMETER_CONFIG": str(shop / "pipeline.toml"), "BAROMETER_HOME": str(home)})
    manifest = SnapshotManifest.read(build_snapshot(settings, WEEK, read_sources(settings, WEEK), home / "snapshot"))
    shutil.rmtree(home)
    return manifest.digest


def test_planted_rows_change_nothing(shop: Path) -> None:
    before = digest(shop)
    with (shop / "landing/visits.csv").open("a") as file:
        file.write(
            f"c1,{CUTOFF},1000\nnew,2026-03-09 00:00:00.000001,1\nc2,2026-03-08T23:00:00Z,1\nc3,2030-01-01 10:00:00,9\n"
        )
    assert digest(shop) == before
    with (shop / "landing/visits.csv").open("a") as file:
        file.write("c1,2026-03-08 23:59:59,1000\n")
    assert digest(shop) != before


def test_later_arrivals_change_nothing(shop: Path) -> None:
    before = digest(shop)
    with (shop / "landing/imports.csv").open("a") as file:
        file.write(f"c1,1000,{CUTOFF}\nc1,1000,2026-03-20 10:00:00\nc1,1000,\n")
    assert digest(shop) == before


def test_rows_of_later_days_change_nothing(shop: Path) -> None:
    before = digest(shop)
    with (shop / "landing/orders.jsonl").open("a") as file:
        file.write(
            json.dumps({"customer_id": "c1", "ordered_on": "2026-03-09", "state": "x", "settled_at": None}) + "\n"
        )
    assert digest(shop) == before


@pytest.mark.parametrize("change", [("paid", "lost"), (CUTOFF, "2031-01-01 00:00:00"), (f'"{CUTOFF}"', "null")])
def test_cells_that_become_known_later_change_nothing(shop: Path, change: tuple[str, str]) -> None:
    before = digest(shop)
    orders = shop / "landing/orders.jsonl"
    orders.write_text(orders.read_text().replace(*change))
    assert digest(shop) == before


def test_cells_known_before_count(shop: Path) -> None:
    before = digest(shop)
    orders = shop / "landing/orders.jsonl"
    orders.write_text(orders.read_text().replace(CUTOFF, "2026-03-08 23:59:59"))
    assert digest(shop) != before
