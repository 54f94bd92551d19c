"""Features: what features.sql returns becomes a snapshot, or a refusal that says what to do."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConservationError, FeatureError, WeekError
from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.company_sql import CompanyQuery
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.weekly.features import features
from pipeline.weekly.handoffs import Ingested, Plan
from tests.company import FEATURES_SQL
from tests.feeds import WEEK, feed_settings

KEYS = "'c' AS customer_id, 'p' AS product_id"


def built(settings: Settings, folder: Path, sql: str | None = None) -> tuple[SnapshotManifest, pa.Table]:
    """Return the week's manifest and all its rows."""
    if sql is not None:
        settings.features_sql.parent.mkdir(exist_ok=True)
        settings.features_sql.write_text(sql)
    path = build_snapshot(settings, WEEK, read_sources(settings, WEEK), folder)
    manifest = SnapshotManifest.read(path)
    return manifest, pa.concat_tables(pq.read_table(path.with_name(shard.file)) for shard in manifest.shards)


@pytest.fixture
def feed(tmp_path: Path) -> Settings:
    return feed_settings(tmp_path, "id,amount\na,1\nb,2\n")


def test_the_companys_snapshot(settings: Settings, tmp_path: Path) -> None:
    manifest, table = built(settings, tmp_path / "s")
    assert (manifest.week, manifest.rows, manifest.subjects) == (str(WEEK), 100, 100)
    columns = {"events": "number", "amount": "number", "kind": "category", "is_busy": "number", "info_name": "info"}
    assert {column.name: column.kind for column in manifest.columns} == columns
    assert manifest.sources.keys() == {"events", "answers"}
    assert table.schema.names == ["customer_id", "product_id", *columns]
    assert [str(field.type) for field in table.schema][2:] == ["float", "float", "string", "float", "string"]
    assert [*table.to_pylist()[0].values()] == ["c0000", "p0", 9.0, 688.5, "c", 1.0, "c0000 of p0"]


def test_numbers_become_float32(feed: Settings, tmp_path: Path) -> None:
    sql = f"""SELECT {KEYS}, 16777217::BIGINT AS a, 0.1::DECIMAL(3,1) AS b, true AS c, 'nan'::DOUBLE AS d, 1e300 AS e,
        -1e300 AS f, 3.4028235e38::DOUBLE AS g, 3.4028235677973366e38::DOUBLE AS h, NULL::DOUBLE AS i,
        (2::HUGEINT ** 120)::HUGEINT AS j, 'inf'::FLOAT AS k FROM feed LIMIT 1"""
    _, table = built(feed, tmp_path / "s", sql)
    inf = float("inf")
    assert list(table.to_pylist()[0].values())[2:] == [
        16777216.0, 0.10000000149011612, 1.0, None, inf, -inf, 3.4028234663852886e38, inf, None, 2.0**120, inf,
    ]  # fmt: skip


def test_categories_and_info_become_text(feed: Settings, tmp_path: Path) -> None:
    sql = (
        f"SELECT {KEYS}, 'x'::ENUM ('x', 'y') AS a, 1.50::DECIMAL(5,2) AS info_b, DATE '2026-03-02' AS info_c FROM feed"
    )
    manifest, table = built(feed, tmp_path / "s", sql)
    assert table.to_pylist()[0] == {
        "customer_id": "c",
        "product_id": "p",
        "a": "x",
        "info_b": "1.50",
        "info_c": "2026-03-02",
    }
    assert manifest.names("info") == ["info_b", "info_c"]


def test_a_subject_twice_is_counted_once_as_subject(feed: Settings, tmp_path: Path) -> None:
    manifest, _ = built(feed, tmp_path / "s", f"SELECT {KEYS}, amount FROM feed")
    assert (manifest.rows, manifest.subjects) == (2, 1)


def test_parameters_are_the_weeks_instants(feed: Settings, tmp_path: Path) -> None:
    sql = f"SELECT {KEYS}, 1 AS a, $week_start AS info_start, $week_end AS info_end FROM feed LIMIT 1"
    _, table = built(feed, tmp_path / "s", sql)
    assert table["info_start"].to_pylist() == ["2026-03-02 00:00:00+01"]
    assert table["info_end"].to_pylist() == ["2026-03-09 00:00:00+01"]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        (f"SELECT {KEYS}, nothing FROM feed", 'fails: Binder Error: Referenced column "nothing" not found'),
        (f"SELECT {KEYS}, CAST(id AS INTEGER) AS a FROM feed", "fails: Conversion Error: Could not convert string 'a'"),
        ("SELECT 'c' AS customer_id, amount FROM feed", "returns no text column 'product_id'"),
        ("SELECT 1 AS customer_id, 'p' AS product_id, amount FROM feed", "returns no text column 'customer_id'"),
        (f"SELECT {KEYS}, 'x' AS info_a FROM feed", "returns no feature column"),
        (f"SELECT {KEYS}, [1] AS a FROM feed", r"returns 'a' of type INTEGER\[\]"),
        (f"SELECT {KEYS}, {{'x': 1}} AS info_a, 1 AS b FROM feed", r"returns 'info_a' of type STRUCT"),
        (f"SELECT {KEYS}, DATE '2026-03-02' AS a FROM feed", "returns 'a' of type DATE.*a number of days"),
        (f"SELECT {KEYS}, 1 AS week FROM feed", "returns the column 'week'"),
        (f"SELECT {KEYS}, 1 AS a, 2 AS A FROM feed", "returns the column 'a"),
        (f"SELECT {KEYS}, 1 AS __hash FROM feed", "returns the column '__hash'"),
        (f'SELECT {KEYS}, 1 AS "a""b" FROM feed', "returns the column 'a\"b'"),
        (f'SELECT {KEYS}, 1 AS "a\\b" FROM feed', r"returns the column 'a\\\\b'"),
        (
            "SELECT nullif(id, 'a') AS customer_id, 'p' AS product_id, amount FROM feed",
            "returns 1 rows without customer_id or",
        ),
        (f"SELECT {KEYS}, amount FROM 'x.parquet'", r"selects from x\.parquet"),
    ],
)
def test_refusals(feed: Settings, tmp_path: Path, sql: str, found: str) -> None:
    with pytest.raises(FeatureError, match=rf"(?s)features\.sql {found}"):
        built(feed, tmp_path / "s", sql)
    assert list((tmp_path / "s").iterdir()) == []


def test_a_week_without_subjects_is_refused(feed: Settings, tmp_path: Path) -> None:
    with pytest.raises(WeekError, match=rf"returns no subject for the week {WEEK}"):
        built(feed, tmp_path / "s", f"SELECT {KEYS}, amount FROM feed WHERE false")


def test_the_sql_cannot_read_beside_its_sources(
    feed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(_con, path: Path, *_) -> CompanyQuery:
        return CompanyQuery(path, path.read_text(), "", {})

    monkeypatch.setattr("pipeline.point_in_time.snapshot.company_query", unchecked)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(FeatureError, match="Permission Error"):
        built(feed, tmp_path / "s", f"SELECT {KEYS}, a FROM '{tmp_path}/secret.csv'")


def plan_for(settings: Settings, reused: Path | None = None) -> Plan:
    return Plan.model_construct(week=str(WEEK), run_id="r", reused_snapshot=reused, folder=settings.home / "runs/r")


def ingested(settings: Settings) -> Ingested:
    path = settings.home / "sources.json"
    read_sources(settings, WEEK).write(path)
    return Ingested(manifest=path, lines=0, rows=0, rejects=0)


def test_the_stage_builds_anew_each_time(settings: Settings) -> None:
    first = features(settings, plan_for(settings), ingested(settings))
    second = features(settings, plan_for(settings), ingested(settings))
    assert first.manifest != second.manifest
    assert first.digest == second.digest
    assert (first.subjects, first.rows, first.shards) == (100, 100, 3)
    assert first.manifest.is_relative_to(settings.home / "snapshots" / str(WEEK))


def test_the_stage_reuses_a_snapshot(settings: Settings) -> None:
    first = features(settings, plan_for(settings), ingested(settings))
    settings_without_sources = settings.model_copy(update={"paths": settings.paths.model_copy(update={"landing": "x"})})
    nothing = Ingested(manifest=None, lines=0, rows=0, rejects=0)
    assert features(settings_without_sources, plan_for(settings, first.manifest), nothing) == first


@pytest.mark.parametrize("damage", ["changed", "gone", "manifest"])
def test_a_damaged_snapshot_is_not_reused(settings: Settings, damage: str) -> None:
    manifest = features(settings, plan_for(settings), ingested(settings)).manifest
    shard = manifest.with_name("shard-0001.parquet")
    if damage == "changed":
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    else:
        (shard if damage == "gone" else manifest).unlink()
    with pytest.raises(ConservationError, match="run the week again with rebuild"):
        features(settings, plan_for(settings, manifest), Ingested(manifest=None, lines=0, rows=0, rejects=0))


def test_the_digest_tells_snapshots_apart(company: Path, settings: Settings, tmp_path: Path) -> None:
    before, _ = built(settings, tmp_path / "a")
    shutil.copytree(company, tmp_path / "other")
    other = settings.model_copy(update={"config_file": tmp_path / "other/pipeline.toml"})
    same, _ = built(other, tmp_path / "b", FEATURES_SQL)
    changed, _ = built(other, tmp_path / "c", FEATURES_SQL.replace("max(kind)", "min(kind)"))
    commented, _ = built(other, tmp_path / "d", FEATURES_SQL + "-- new")
    digests: list[Any] = [manifest.digest for manifest in (before, same, changed, commented)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
