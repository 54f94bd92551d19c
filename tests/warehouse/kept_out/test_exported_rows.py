"""Exports: what was kept out comes back exactly, and can be read, corrected or scored."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples

from pipeline.errors import ConfigError
from pipeline.models.scoring.scorer import Scorer
from pipeline.orchestration.run_facts import run_facts
from pipeline.settings import Settings, load_settings
from pipeline.warehouse import runs
from pipeline.warehouse.evidence import record_quarantine
from pipeline.warehouse.kept_out import queries as kept_out
from pipeline.warehouse.kept_out.exported_rows import Rejects, export_rejects, export_subjects
from pipeline.weekly.ingest import ingest
from tests.feeds import feed_settings
from tests.handmade import COLUMNS, FEATURES_SCHEMA, feature_row, make_quarantine, make_run, make_snapshot
from tests.tiny_model import tiny_bundle

Feed = Callable[..., Settings]
BUDGET = "reject_fraction = 1.0"


@pytest.fixture
def feed(tmp_path: Path, server_url: str) -> Feed:
    """Make a company with one source, as `feed_settings` does, and a warehouse of its own."""
    prefix = f"t{uuid4().hex[:12]}"

    def make(content: bytes | None, name: str = "feed.csv", **facts: Any) -> Settings:
        declared = f"{BUDGET}\n{facts.pop('declared', '')}"
        made = feed_settings(tmp_path / "feed", content, name, declared=declared, **facts)
        environ = {"BAROMETER_CONFIG": str(made.config_file), "BAROMETER_HOME": str(made.home)}
        database = {"BAROMETER__DATABASE__URL": server_url, "BAROMETER__DATABASE__PREFIX": prefix}
        return load_settings({**environ, **database})

    return make


def rejected(settings: Settings) -> tuple[runs.RunRecord, list[dict[str, Any]]]:
    """Ingest the week; return the run's record and its rejects."""
    plan = make_run(settings)
    runs.update_run(settings, plan.run_id, **run_facts(plan, ingest(settings, plan)))
    found = kept_out.rejects(settings, plan.run_id).to_pylist()
    record = runs.run(settings, plan.run_id)
    assert len(found) == sum(file["rejects"] for file in (record.sources or {})["feed"]["files"])
    return record, found


BAD_LINES = [
    b"a;x",
    b'"q ""uoted"";\n;";x',
    b"ragged",
    b"",
    "überlang;x".encode(),
    b"caf\xe9;1",
    b"nul\0;1",
    rb"text \x00 \xe9;x",
    b" spaces ; x ",
    b"'single';x",
    b"long " + b"x" * 3_000_000 + b";x",
]


def test_the_rejects_of_csv_leave_as_the_lines_of_their_file(feed: Feed, tmp_path: Path):
    lines = b"\n".join([b"good;1", *BAD_LINES]) + b"\n"
    settings = feed(b"id;amount\n" + lines, declared='delimiter = ";"')
    record, first = rejected(settings)
    out = tmp_path / "out.csv"
    assert export_rejects(settings, record, Rejects("feed", None), "csv", out) == 10
    assert out.read_bytes() == b"id;amount\n" + b"\n".join(line for line in BAD_LINES if line) + b"\n"
    _, second = rejected(feed(out.read_bytes(), declared='delimiter = ";"'))
    same = ("reason", "content", "content_bytes")
    assert [[row[name] for name in same] for row in second] == [[row[name] for name in same] for row in first]


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5))
@examples(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_bytes_a_reject_has_they_leave_as_they_were(feed: Feed, tmp_path: Path, values):
    """As JSON Lines, where every line is a record."""
    lines = [b'{"id": "\xff' + value.replace(b"\n", b"\t") + b'", "amount": 1}' for value in values]
    settings = feed(b"\n".join(lines) + b"\n", "feed.jsonl")
    record, found = rejected(settings)
    assert [row["reason"].partition(";")[0] for row in found] == ["is not text in UTF-8"] * len(lines)
    out = tmp_path / "out.jsonl.gz"
    export_rejects(settings, record, Rejects("feed", "feed.jsonl"), "jsonl", out)
    assert gzip.decompress(out.read_bytes()).splitlines() == b"\n".join(lines).splitlines()


def test_a_corrected_file_can_be_dropped_in_beside_the_first(feed: Feed, tmp_path: Path):
    declared = 'path = "feed*.csv"'
    settings = feed(b"amount,more,id\n1,,a\nx,?,b\n", declared=declared)
    record, _ = rejected(settings)
    out = settings.landing / "feed-corrected.csv"
    export_rejects(settings, record, Rejects("feed", None), "csv", out)
    out.write_bytes(out.read_bytes().replace(b"x", b"2"))
    record, found = rejected(settings)
    files = (record.sources or {})["feed"]["files"]
    assert [(Path(file["uri"]).name, file["rows"]) for file in files] == [("feed-corrected.csv", 1), ("feed.csv", 1)]
    assert [row["content"] for row in found] == ["x,?,b"]  # the first file is as it was


def test_files_with_other_headers_leave_one_by_one(feed: Feed, tmp_path: Path):
    settings = feed(b"id,amount\na,x\n", declared='path = "feed*.csv"')
    (settings.landing / "feed2.csv").write_bytes(b"amount,id\ny,b\n")
    record, _ = rejected(settings)
    with pytest.raises(ConfigError, match=r"have 2 different headers.*--file: feed.csv, feed2.csv"):
        export_rejects(settings, record, Rejects("feed", None), "csv", tmp_path / "out.csv")
    assert export_rejects(settings, record, Rejects("feed", "feed2.csv"), "csv", tmp_path / "out.csv") == 1
    assert (tmp_path / "out.csv").read_bytes() == b"amount,id\ny,b\n"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_rejects_of_parquet_leave_as_values(feed: Feed, tmp_path: Path, form):
    table = pa.table({"id": ["a", "b", None], "amount": ["1", "x", "y"], "more": [[1], None, [2, 3]]})
    pq.write_table(table, tmp_path / "made.parquet")
    settings = feed((tmp_path / "made.parquet").read_bytes(), "feed.parquet")
    record, first = rejected(settings)
    out = tmp_path / f"out.{form}"
    export_rejects(settings, record, Rejects("feed", None), form, out)
    _, second = rejected(feed(out.read_bytes(), f"again.{form}"))
    assert [row["reason"] for row in second] == [row["reason"] for row in first]


@pytest.mark.parametrize(
    ("rejects", "form", "message"),
    [
        (Rejects("feed", None), "parquet", "are lines of csv"),
        (Rejects("feed", "other.csv"), "csv", "has no rejects with source feed and file other.csv"),
        (Rejects("nothing", None), "csv", "has no rejects with source nothing"),
    ],
)
def test_what_cannot_be_exported_is_refused(feed: Feed, tmp_path: Path, rejects, form, message):
    settings = feed(b"id,amount\na,x\n")
    record, _ = rejected(settings)
    with pytest.raises(ConfigError, match=message):
        export_rejects(settings, record, rejects, form, tmp_path / "out")
    with pytest.raises(ConfigError, match="has no subjects in quarantine"):
        export_subjects(settings, record, "csv", tmp_path / "out")
    with pytest.raises(ConfigError, match="cannot be written"):
        export_rejects(settings, record, Rejects("feed", None), "csv", Path("/proc/nowhere/out"))
    assert not (tmp_path / "out").exists()


def quarantined(settings: Settings, shards: list[list[dict[str, object]]]) -> tuple[runs.RunRecord, pa.Table]:
    """Keep every row out; return the run's record and the rows of its shards."""
    plan = make_run(settings)
    folder = settings.home / f"snapshot-{plan.run_id}"
    snapshot = make_snapshot(folder, shards)
    places = [
        (number, at, row["customer_id"], row["product_id"])
        for number, rows in enumerate(shards)
        for at, row in enumerate(rows)
    ]
    kept = make_quarantine(plan.folder / "quarantine.parquet", places)
    record_quarantine(settings, plan.run_id, snapshot.manifest, kept.quarantine)
    runs.update_run(settings, plan.run_id, snapshot_manifest=str(snapshot.manifest))
    rows = pa.concat_tables(pq.read_table(folder / f"shard-{number:04d}.parquet") for number in range(len(shards)))
    return runs.run(settings, plan.run_id), rows


ROWS = st.fixed_dictionaries(
    {
        "product_id": st.sampled_from(["p0", "", "p\0"]),
        "amount": st.none() | st.floats(width=32),
        "kind": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\ufdd0"), max_size=5),
    }
)


@example([{"product_id": "p\0", "amount": amount, "kind": "\\x00\0"} for amount in (-0.0, math.nan, -math.inf, 0.1)])
@given(st.lists(ROWS, min_size=1, max_size=4))
@examples(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_quarantined_rows_come_back_exactly(warehouse_settings: Settings, tmp_path: Path, rows):
    shards = [[feature_row(f"c{at}", **row) for at, row in enumerate(rows)]]
    record, expected = quarantined(warehouse_settings, shards)
    out = tmp_path / "out.parquet"
    assert export_subjects(warehouse_settings, record, "parquet", out) == len(rows)
    assert pq.read_schema(out).equals(FEATURES_SCHEMA)
    assert repr(pq.read_table(out).to_pylist()) == repr(expected.to_pylist())  # -0.0 and nan too


def test_quarantined_rows_as_csv_and_json_lines(warehouse_settings: Settings, tmp_path: Path):
    shards = [[feature_row("c0", amount=math.inf, kind='"a,b"'), feature_row("c0", amount=None)], [feature_row("c1")]]
    record, _ = quarantined(warehouse_settings, shards)
    for form in ("csv", "jsonl"):
        assert export_subjects(warehouse_settings, record, form, tmp_path / f"out.{form}") == 3
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["customer_id"], row["amount"], row["kind"]) for row in rows] == [
        ("c0", "inf", '"a,b"'), ("c0", None, "a"), ("c1", 1.0, "a"),
    ]  # fmt: skip
    assert pa_csv.read_csv(tmp_path / "out.csv")["amount"].to_pylist() == [math.inf, None, 1.0]


def test_the_export_can_be_scored(warehouse_settings: Settings, tmp_path: Path):
    rows = [feature_row(f"c{at}", amount=float(at)) for at in range(5)]
    record, expected = quarantined(warehouse_settings, [rows])
    export_subjects(warehouse_settings, record, "parquet", tmp_path / "out.parquet")
    digest = tiny_bundle(tmp_path / "bundle", COLUMNS)
    scorer = Scorer.load(tmp_path / "bundle", digest, threshold=0.5)
    exported = pq.read_table(tmp_path / "out.parquet")
    scores = [scorer.score(table.to_batches()[0])["satisfaction"] for table in (exported, expected)]
    assert scores[0].equals(scores[1])
    assert np.isfinite(scores[0]).all()
