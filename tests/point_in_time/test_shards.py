"""Shards: every row in the shard of its key, equal bytes for equal rows."""

from hashlib import md5, sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from tests.company import company_settings
from tests.feeds import WEEK, feed_settings


def build(settings: Settings, folder: Path) -> tuple[SnapshotManifest, Path]:
    path = build_snapshot(settings, WEEK, read_sources(settings, WEEK), folder)
    return SnapshotManifest.read(path), folder


def test_every_row_is_in_the_shard_of_its_key(settings: Settings, tmp_path: Path) -> None:
    manifest, folder = build(settings, tmp_path / "s")
    assert [shard.file for shard in manifest.shards] == [f"shard-000{index}.parquet" for index in range(3)]
    for index, shard in enumerate(manifest.shards):
        content = (folder / shard.file).read_bytes()
        assert sha256(content).hexdigest() == shard.digest
        keys = [tuple(row.values())[:2] for row in pq.read_table(folder / shard.file).to_pylist()]
        assert len(keys) == shard.rows
        assert keys == sorted(keys)
        for customer_id, product_id in keys:
            digest = md5(f"{customer_id}\x1f{product_id}".encode()).digest()
            assert int.from_bytes(digest[:8], "big") % 3 == index


@pytest.mark.parametrize(("rows", "shards"), [(1, 1), (40, 1), (41, 2), (120, 3)])
def test_how_many_shards(tmp_path: Path, rows: int, shards: int) -> None:
    settings = wide_settings(tmp_path, rows)
    manifest, _ = build(settings.model_copy(update={"resources": shard_rows(settings, 40)}), tmp_path / "s")
    assert len(manifest.shards) == shards
    assert sum(shard.rows for shard in manifest.shards) == rows


def wide_settings(
    folder: Path, rows: int, sql: str = "SELECT id AS customer_id, 'p' AS product_id, amount FROM feed"
) -> Settings:
    settings = feed_settings(folder, "id,amount\n" + "".join(f"c{n % 7919},{n}\n" for n in range(rows)))
    settings.features_sql.parent.mkdir(exist_ok=True)
    settings.features_sql.write_text(sql)
    return settings


def shard_rows(settings: Settings, rows: int, threads: int = 2) -> object:
    return settings.resources.model_copy(update={"shard_rows": rows, "threads": threads})


def test_equal_rows_give_equal_bytes(company: Path, tmp_path: Path) -> None:
    """The threads, the home and the order of duplicates do not matter."""
    manifests = [
        build(company_settings(company, tmp_path / f"home{n}", RESOURCES__THREADS=str(n)), tmp_path / f"s{n}")[0]
        for n in (1, 2)
    ]
    assert manifests[0].shards == manifests[1].shards
    assert manifests[0].digest == manifests[1].digest


def test_duplicates_are_in_a_total_order(tmp_path: Path) -> None:
    rows = 150_000  # about twenty of each subject, over several row groups
    turned = "SELECT id AS customer_id, 'p' AS product_id, amount FROM feed ORDER BY amount DESC"
    settings = wide_settings(tmp_path, rows)
    first, folder = build(settings.model_copy(update={"resources": shard_rows(settings, 100_000)}), tmp_path / "a")
    settings = wide_settings(tmp_path, rows, turned)
    settings = settings.model_copy(update={"resources": shard_rows(settings, 100_000, threads=4)})
    second, _ = build(settings, tmp_path / "b")
    assert (first.rows, first.subjects) == (rows, 7919)
    assert first.shards == second.shards
    groups = pq.read_metadata(folder / "shard-0000.parquet")
    assert groups.row_group(0).num_rows == 65_536
