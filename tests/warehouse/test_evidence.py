"""Evidence: rejects are written once, quarantined subjects whole."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifests import FeatureColumn, Shard, SnapshotManifest, SourceFile
from pipeline.settings import Settings
from pipeline.sources.stream import MARK, NUL
from pipeline.warehouse import evidence, runs
from tests.company import FIRST_WEEK
from tests.warehouse.test_schema import rows
from tests.weeks_of_runs import plan_of


@pytest.fixture
def run_id(warehouse_settings: Settings) -> str:
    return runs.open_run(warehouse_settings, week=FIRST_WEEK, airflow_run_id="dag run")


def ingested(folder: Path, digest: str, bad_lines: dict[int, str]) -> SourceFile:
    """A file of three good rows and some bad ones, as ingest leaves it."""
    lines = [*range(2, 5), *bad_lines]
    table = pa.table(
        {
            "amount": pa.array([None] * len(lines), pa.int64()),
            "__line": lines,
            "__reason": pa.array([None] * 3 + ["bad amount"] * len(bad_lines), pa.string()),
            "__raw": pa.array([None] * 3 + list(bad_lines.values()), pa.string()),
        }
    )
    path = folder / f"{digest}-{len(bad_lines)}.parquet"
    pq.write_table(table, path)
    return SourceFile(
        uri=f"file:///{digest}.csv", size_bytes=1, digest=digest, rows=3, rejects=len(bad_lines), parquet=path
    )


def test_a_reject_is_recorded_whole_and_once(warehouse_settings: Settings, run_id: str, tmp_path: Path):
    file = ingested(tmp_path, "d1", {7: f"c1,p1,x{NUL}y{MARK}\\xe9", 9: 'c2,"p\n2",?'})
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [file]) == 2
    second = runs.open_run(warehouse_settings, week=FIRST_WEEK, airflow_run_id="another")
    assert evidence.record_rejects(warehouse_settings, second, "events", [file, file]) == 2
    query = """
        SELECT source, file_digest, line, uri, reason, content, content_bytes, first_run_id FROM rejects ORDER BY line
    """
    assert rows(warehouse_settings, query) == [
        ("events", "d1", 7, "file:///d1.csv", "bad amount", r"c1,p1,x\x00y\xe9", b"c1,p1,x\0y\xe9", run_id),
        ("events", "d1", 9, "file:///d1.csv", "bad amount", 'c2,"p\n2",?', None, run_id),
    ]


def test_accepted_rejects_never_count_again(warehouse_settings: Settings, run_id: str, tmp_path: Path):
    old, new = ingested(tmp_path, "d1", {7: "a", 9: "b"}), ingested(tmp_path, "d2", {7: "c"})
    evidence.record_rejects(warehouse_settings, run_id, "events", [old])
    evidence.accept_rejects(warehouse_settings, run_id, "events", [old])
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [old, new]) == 1
    assert evidence.record_rejects(warehouse_settings, run_id, "answers", [old]) == 2  # another source's budget
    evidence.accept_rejects(warehouse_settings, run_id, "events", [old, new])
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [old, new]) == 0


def test_what_a_mended_declaration_can_read_no_longer_counts(warehouse_settings: Settings, run_id: str, tmp_path: Path):
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [ingested(tmp_path, "d", {7: "a", 9: "b"})])
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [ingested(tmp_path, "d", {9: "b"})]) == 1


def test_a_run_has_the_rejects_of_its_files_as_it_read_them(warehouse_settings: Settings, run_id: str, tmp_path: Path):
    file = ingested(tmp_path, "d", {7: "a", 9: "b"}).model_copy(update={"declaration": "first"})
    copy = file.model_copy(update={"uri": "file:///copy.csv"})
    mended = ingested(tmp_path, "d", {9: "b"}).model_copy(update={"declaration": "second"})
    second = runs.open_run(warehouse_settings, week=FIRST_WEEK, airflow_run_id="another")
    for run, files in ((run_id, [file, copy]), (second, [mended])):
        sources = {"events": {"files": [each.model_dump(mode="json") for each in files]}}
        runs.update_run(warehouse_settings, run, sources=sources)
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [file, copy]) == 2
    evidence.accept_rejects(warehouse_settings, run_id, "events", [file, copy])
    assert evidence.record_rejects(warehouse_settings, second, "events", [mended]) == 0  # accepted, however it was read
    assert rows(warehouse_settings, "SELECT run_id, uri, line FROM run_rejects ORDER BY run_id, uri, line") == [
        (run_id, "file:///copy.csv", 7), (run_id, "file:///copy.csv", 9),
        (run_id, "file:///d.csv", 7), (run_id, "file:///d.csv", 9),
        (second, "file:///d.csv", 9),
    ]  # fmt: skip


def test_a_source_without_rejects(warehouse_settings: Settings, run_id: str, tmp_path: Path):
    assert evidence.record_rejects(warehouse_settings, run_id, "events", [ingested(tmp_path, "d", {})]) == 0
    assert evidence.record_rejects(warehouse_settings, run_id, "events", []) == 0


def snapshot(folder: Path) -> Path:
    """Two shards: c1 with an infinite amount, c2 twice, and one whose key is missing."""
    shards = [
        {"customer_id": ["c1", "c0"], "amount": [float("inf"), 1.0], "kind": ["a\0\\u0000", ""]},
        {"customer_id": ["c2", "c2", None], "amount": [float("nan"), None, 2.5], "kind": ['"'] * 3},
    ]
    folder.mkdir()
    for number, columns in enumerate(shards):
        columns |= {"product_id": ["p"] * len(columns["kind"]), "info_name": columns["kind"]}
        pq.write_table(pa.table(columns), folder / f"shard-{number:04d}.parquet")
    manifest = SnapshotManifest(
        week=str(FIRST_WEEK),
        cutoff="2026-01-12T00:00:00Z",
        sql_digest="s",
        columns=[
            FeatureColumn(name="amount", kind="number"),
            FeatureColumn(name="kind", kind="category"),
            FeatureColumn(name="info_name", kind="info"),
        ],
        rows=5,
        subjects=4,
        shards=[Shard(file=f"shard-{number:04d}.parquet", rows=0, digest="") for number in range(2)],
        sources={},
    )
    manifest.write(folder / "manifest.json")
    return folder / "manifest.json"


def test_quarantined_subjects_are_whole_and_a_retry_leaves_one_set(
    warehouse_settings: Settings, run_id: str, tmp_path: Path
):
    manifest = snapshot(tmp_path / "snapshot")
    quarantine = tmp_path / "quarantine.parquet"
    twice = ["is there twice", "not finite"]
    kept_out = {
        "shard": pa.array([0, 1, 1, 1], pa.int32()),
        "row": [0, 0, 1, 2],
        "customer_id": ["c1", "c2", "c2", None],
        "product_id": ["p"] * 4,
        "reasons": [["not finite"], twice, twice, ["no key"]],
    }
    pq.write_table(pa.table(kept_out), quarantine)
    plan = plan_of(warehouse_settings, run_id)
    for _ in range(2):
        evidence.record_quarantine(warehouse_settings, plan.run_id, manifest, quarantine)
    found = rows(warehouse_settings, "SELECT * FROM quarantine ORDER BY customer_id")
    c1 = {"customer_id": "c1", "product_id": "p", "amount": "inf", "kind": f"a{NUL}\\u0000"}
    c2 = {"customer_id": "c2", "product_id": "p", "amount": "nan", "kind": '"'}
    nobody = {"customer_id": None, "product_id": "p", "amount": 2.5, "kind": '"'}
    assert found == [
        (run_id, "c1", "p", ["not finite"], [{**c1, "info_name": c1["kind"]}]),
        (run_id, "c2", "p", twice, [{**c2, "info_name": '"'}, {**c2, "amount": None, "info_name": '"'}]),
        (run_id, None, "p", ["no key"], [{**nobody, "info_name": '"'}]),
    ]
