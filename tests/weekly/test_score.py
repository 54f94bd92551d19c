"""The score stage: a shard's rows but those in quarantine, from checked files, streamed, byte for byte the same."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConservationError, ModelError
from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn, Shard, SnapshotManifest
from pipeline.models.predictions import PREDICTIONS_SCHEMA, kept_batches
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings
from pipeline.weekly.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.weekly.score import score
from tests.tiny_model import COMPANY_COLUMNS, made_up_rows, tiny_bundle

WEEK = "2026-03-02"
ROWS = 500
AWKWARD = ["plain", 'q"uo\\te', "tab\tnew\nline\r\x01\x1f", "ünï ✓ \U0001f600", "", None, "nul\0"]
QUARANTINE = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int64()),
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("reasons", pa.list_(pa.string())),
    ]
)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    return folder, tiny_bundle(folder)


@pytest.fixture
def plan(sealed: tuple[Path, str], settings: Settings) -> Plan:
    return Plan(
        run_id=f"{WEEK}.1",
        week=WEEK,
        cutoff=datetime(2026, 3, 8, 23, tzinfo=UTC),
        model_version="3",
        model_reason="named",
        trained_after_cutoff=True,
        bundle=sealed[0],
        bundle_digest=sealed[1],
        reused_snapshot=None,
        folder=settings.home / "runs" / f"{WEEK}.1",
    )


def features_table(rows: int, columns: list[FeatureColumn] = COMPANY_COLUMNS) -> pa.Table:
    scorer_features = [c for c in columns if c.kind != "info"]
    from pipeline.models.bundle import Feature

    frame, _ = made_up_rows(
        [Feature(name=c.name, kind=c.kind, categories=["a", "b"] * (c.kind == "category")) for c in scorer_features],
        rows,
    )
    table = pa.Table.from_pandas(frame.replace({"__missing__": None}), preserve_index=False)
    keys = [pa.array([f"c{i}" for i in range(rows)]), pa.array([f"p{i % 3}" for i in range(rows)])]
    for position, (name, values) in enumerate(zip(("customer_id", "product_id"), keys, strict=True)):
        table = table.add_column(position, name, values)
    for column in columns:
        if column.kind == "info":
            table = table.append_column(column.name, pa.array([AWKWARD[i % len(AWKWARD)] for i in range(rows)]))
    return table


def snapshot_of(folder: Path, table: pa.Table, columns: list[FeatureColumn] = COMPANY_COLUMNS) -> Snapshot:
    """Two shards: nobody in the first, `table` in the second."""
    folder.mkdir(parents=True)
    shards = []
    for index, part in enumerate((table.slice(0, 0), table)):
        path = folder / f"shard-{index:04d}.parquet"
        pq.write_table(part, path, row_group_size=170)
        shards.append(Shard(file=path.name, rows=part.num_rows, digest=sha256_of_file(path)))
    manifest = SnapshotManifest(
        week=WEEK,
        cutoff=datetime(2026, 3, 8, 23, tzinfo=UTC),
        sql_digest="",
        columns=columns,
        rows=table.num_rows,
        subjects=table.num_rows,
        shards=shards,
        sources={},
    )
    manifest.write(folder / "manifest.json")
    rows = table.num_rows
    return Snapshot(manifest=folder / "manifest.json", digest=manifest.digest, subjects=rows, rows=rows, shards=2)


def validated(folder: Path, quarantined: list[tuple[int, int]]) -> FeaturesValidated:
    rows = [{"shard": s, "row": r, "customer_id": f"c{r}", "product_id": "p", "reasons": []} for s, r in quarantined]
    path = folder / "quarantine.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE), path)
    return FeaturesValidated(quarantine=path, quarantined=len(rows), expectations=1, warnings=0)


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    return snapshot_of(settings.home / "snapshot", features_table(ROWS))


def test_a_shard_is_scored_whole_and_in_order(settings: Settings, plan: Plan, snapshot: Snapshot) -> None:
    scored = score(settings, plan, snapshot, validated(plan.folder, []), 1)
    table = pq.read_table(scored.file)
    assert scored.file == plan.folder / "predictions" / "shard-0001.parquet"
    assert (scored.rows, scored.shard, scored.digest) == (ROWS, 1, sha256_of_file(scored.file))
    assert table.schema == PREDICTIONS_SCHEMA
    assert table.column("customer_id").to_pylist() == [f"c{i}" for i in range(ROWS)]
    assert set(
        table.select(["week", "role", "model_version", "run_id", "trained_after_cutoff"]).to_pylist()[0].values()
    ) == {date(2026, 3, 2), "champion", "3", f"{WEEK}.1", True}
    scorer = Scorer.load(plan.bundle, plan.bundle_digest, threshold=settings.model.threshold)
    expected = scorer.score(features_table(ROWS).combine_chunks().to_batches()[0])
    assert table.column("satisfaction").to_pylist() == expected.column("satisfaction").to_pylist()
    assert table.column("likely_satisfied").to_pylist() == expected.column("likely_satisfied").to_pylist()


def test_an_empty_shard_gives_an_empty_file(settings: Settings, plan: Plan, snapshot: Snapshot) -> None:
    scored = score(settings, plan, snapshot, validated(plan.folder, []), 0)
    assert scored.rows == 0
    assert pq.read_table(scored.file).schema == PREDICTIONS_SCHEMA


@pytest.mark.parametrize("batch_rows", [1, 64, 170, 10_000])
def test_rows_in_quarantine_are_left_out_and_no_other(settings, plan, snapshot, batch_rows) -> None:
    out = [0, 1, 63, 64, 169, 170, 171, 300, ROWS - 1]
    other_shard = [(0, row) for row in range(2, 40)]
    settings = settings.model_copy(
        update={"resources": settings.resources.model_copy(update={"batch_rows": batch_rows})}
    )
    validation = validated(plan.folder, [*other_shard, *((1, row) for row in reversed(out))])
    scored = score(settings, plan, snapshot, validation, 1)
    kept = pq.read_table(scored.file).column("customer_id").to_pylist()
    assert kept == [f"c{i}" for i in range(ROWS) if i not in out]
    assert scored.rows == len(kept)


def test_the_same_shard_gives_the_same_bytes(settings: Settings, plan: Plan, snapshot: Snapshot) -> None:
    resources = settings.resources.model_copy(update={"threads": 1, "batch_rows": 7})
    settings = settings.model_copy(update={"resources": resources})
    first = score(settings, plan, snapshot, validated(plan.folder, [(1, 5)]), 1)
    content = first.file.read_bytes()
    settings = settings.model_copy(update={"resources": settings.resources.model_copy(update={"threads": 3})})
    again = score(settings, plan, snapshot, validated(plan.folder, [(1, 5)]), 1)
    assert again.file.read_bytes() == content
    assert again.digest == first.digest


def test_info_columns_become_a_json_object_whatever_they_hold(
    settings: Settings, plan: Plan, snapshot: Snapshot
) -> None:
    info = pq.read_table(score(settings, plan, snapshot, validated(plan.folder, []), 1).file).column("info").to_pylist()
    expected = [{"name": text and text.replace("\0", "\N{REPLACEMENT CHARACTER}")} for text in AWKWARD]
    assert [json.loads(text) for text in info[: len(AWKWARD)]] == expected


def test_several_info_columns_or_none(settings: Settings, plan: Plan) -> None:
    two = [*COMPANY_COLUMNS, FeatureColumn(name='info_"odd" name', kind="info")]
    snapshot = snapshot_of(settings.home / "two", features_table(3, two), two)
    info = pq.read_table(score(settings, plan, snapshot, validated(plan.folder, []), 1).file).column("info")
    assert json.loads(info[1].as_py()) == {"name": AWKWARD[1], '"odd" name': AWKWARD[1]}
    none = COMPANY_COLUMNS[:-1]
    snapshot = snapshot_of(settings.home / "none", features_table(3, none), none)
    info = pq.read_table(score(settings, plan, snapshot, validated(plan.folder, []), 1).file).column("info")
    assert info.null_count == 3


def test_a_shard_that_was_changed_after_it_was_written_is_refused(settings, plan, snapshot) -> None:
    shard = snapshot.manifest.parent / "shard-0001.parquet"
    pq.write_table(features_table(ROWS).slice(1), shard)
    with pytest.raises(ConservationError, match=r"shard-0001\.parquet is missing or has changed"):
        score(settings, plan, snapshot, validated(plan.folder, []), 1)
    shard.unlink()
    with pytest.raises(ConservationError, match="absent"):
        score(settings, plan, snapshot, validated(plan.folder, []), 1)
    assert not list(plan.folder.rglob("*shard*"))


def test_a_snapshot_without_one_of_the_features_is_refused_and_leaves_nothing(settings: Settings, plan: Plan) -> None:
    columns = [c for c in COMPANY_COLUMNS if c.name != "amount"]
    snapshot = snapshot_of(settings.home / "less", features_table(ROWS, columns), columns)
    with pytest.raises(ModelError, match="'amount'"):
        score(settings, plan, snapshot, validated(plan.folder, []), 1)
    assert not list((plan.folder / "predictions").iterdir())


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    table = pa.table({f"number_{n}": random.random(400_000) for n in range(4)})
    pq.write_table(table, tmp_path / "shard.parquet", row_group_size=20_000)
    del table
    nobody = validated(tmp_path, []).quarantine
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in kept_batches(tmp_path / "shard.parquet", nobody, 0, 4_096))
    assert most - before < 4_000_000, "of 12.8 MB"
