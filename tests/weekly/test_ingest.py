"""Ingest: each file read once, every line accounted for, rejects on record and held against the budget."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline.errors import BudgetError, ConservationError, SourceError
from pipeline.manifests import SnapshotManifest, SourcesManifest
from pipeline.settings import Settings
from pipeline.sources.texts import Texts
from pipeline.sources.week_sources import read_sources
from pipeline.warehouse import transaction
from pipeline.warehouse.runs import open_run, run
from pipeline.weekly.handoffs import Plan
from pipeline.weekly.ingest import ingest
from pipeline.weeks import Week
from tests.company import company_settings, own_database
from tests.feeds import WEEK, feed_settings, good, read
from tests.handmade import make_plan

COLUMNS = {"id": "text", "amount": "decimal(8,2)", "day": "timestamp"}


def test_a_lost_line_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Texts):
        def reader(self) -> pa.RecordBatchReader:
            batches = super().reader()
            return pa.RecordBatchReader.from_batches(self.schema, (batch.slice(1) for batch in batches))

    monkeypatch.setattr("pipeline.sources.delimited.Texts", Forgetful)
    with pytest.raises(ConservationError, match=r"has 2 lines, of which 1 were kept"):
        read(feed_settings(tmp_path, "id,amount\na,1\nb,2\n"))


PIECES = st.sampled_from([
    "a", "1", ",", '"', '""', "\n", "\r\n", "\r", "é", " ", "\0", "\ufdd0", "\u2028", "2026-03-29 02:30:00", "nan", "-",
    ";", "{", "}", '{"id":', ":", "[", "]", "\\", "1e999",
])  # fmt: skip


@examples(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=60).map(lambda pieces: "".join(pieces).encode()))
@example(b'a,"\n",b\n')
@example(b"\xff\xfe")
def test_any_bytes_are_lines_or_refused(content: bytes) -> None:
    """For damage to good files see `tests/hostile/test_fuzz.py`."""
    lines = [line for line in re.split(rb"\r\n|\n|\r", content) if line]
    for name in ("feed.csv", "feed.jsonl", "feed.parquet", "feed.csv.gz"):
        for start in (b"", b"id,amount,day\n") if name == "feed.csv" else (b"",):
            with tempfile.TemporaryDirectory() as folder, suppress(SourceError):
                source = read(feed_settings(Path(folder), start + content, name=name, columns=COLUMNS))
                assert source.rows + source.rejects <= len(lines)


def test_a_file_is_cast_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_sources(settings, WEEK)
    monkeypatch.setattr("pipeline.sources.week_sources.read_file", lambda *_: pytest.fail("a file is read again"))
    assert read_sources(settings, WEEK) == first


def test_another_declaration_reads_the_file_anew(tmp_path: Path) -> None:
    content = "id,amount\n007,1\n"
    assert good(feed_settings(tmp_path, content)) == [(2, "007", 1.0)]
    assert good(feed_settings(tmp_path, content, columns={"id": "integer", "amount": "text"})) == [(2, 7, "1")]
    assert good(feed_settings(tmp_path, content, declared='null_values = ["007"]')) == [(2, None, 1.0)]


def test_the_first_refusal_is_raised_and_nothing_half_written(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id,amount\n" + "a,1\n" * 100_000 + 'b,"2\n')
    with pytest.raises(SourceError):
        read(settings)
    assert list((settings.home / "ingested/feed").iterdir()) == []


def test_two_readers_at_once_agree(company: Path, tmp_path: Path) -> None:
    homes = [company_settings(company, tmp_path / "home") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        manifests = list(pool.map(lambda each: read_sources(each, WEEK), homes))
    assert all(manifest == manifests[0] for manifest in manifests)


KILLED = """
import os, signal, sys
from pipeline.settings import load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week
from pathlib import Path

def killed(self, target):
    os.kill(os.getpid(), signal.SIGKILL)

Path.replace = killed
read_sources(load_settings(), Week.parse(sys.argv[1]))
"""


def test_a_killed_reader_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id,amount\na,1\nb\n")
    environ = {**os.environ, "BAROMETER_CONFIG": str(settings.config_file), "BAROMETER_HOME": str(settings.home)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(WEEK)], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = list((settings.home / "ingested/feed").iterdir())
    assert [path.name.startswith(".tmp-") for path in left] == [True]
    assert good(settings) == [(2, "a", 1.0)]


@pytest.fixture
def flawed(company: Path, tmp_path: Path, server_url: str) -> Callable[..., Settings]:
    """Settings of a copy of the company with three bad lines in the week's own file; two are within the budget."""
    folder = tmp_path / "flawed"
    shutil.copytree(company, folder)
    with (folder / f"landing/events-{WEEK}.csv").open("a") as file:
        file.write("c0001,p1,yesterday,1,a\nc0001,p1\nc0002,p2,2026-03-03 10:00:00,much,a\n")
    database = own_database(server_url)
    return lambda **overrides: company_settings(folder, tmp_path / "home", **database, **overrides)


def started(settings: Settings, week: Week = WEEK) -> Plan:
    run_id = open_run(settings, week=week, airflow_run_id="test", code_version="c", config_digest="d")
    return make_plan(settings, run_id)


def rejects(settings: Settings) -> list[tuple[Any, ...]]:
    query = "SELECT source, line, reason, content, first_run_id, accepted_run_id FROM rejects ORDER BY line"
    with transaction(settings) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_the_stage_counts_and_keeps_its_manifest(warehouse_settings: Settings) -> None:
    plan = started(warehouse_settings)
    ingested = ingest(warehouse_settings, plan)
    assert (ingested.lines, ingested.rows, ingested.rejects) == (1801, 1801, 0)
    assert ingested.manifest == plan.folder / "sources.json"
    sources = SourcesManifest.read(ingested.manifest).sources
    assert {name: (len(read.files), read.timeless) for name, read in sources.items()} == {
        "events": (4, False), "answers": (1, False),
    }  # fmt: skip


def test_too_many_rejects_stop_the_run_again_and_again(flawed: Callable[..., Settings]) -> None:
    settings = flawed()
    plans = [started(settings), started(settings)]
    for plan in plans:
        with pytest.raises(BudgetError) as caught:
            ingest(settings, plan)
        assert caught.value.found.startswith("Source events has 3 new rejects among 204 lines, for example events-")
        assert "happened_at: 'yesterday' is not a timestamp" in caught.value.found
        assert caught.value.expected.startswith("at most 2 ")
        read = (run(settings, plan.run_id).sources or {})["events"]  # on record before the run was stopped
        assert (read["new_rejects"], [file["rejects"] for file in read["files"]]) == (3, [0, 0, 0, 3])
    first = plans[0].run_id
    assert rejects(settings) == [
        ("events", 203, "happened_at: 'yesterday' is not a timestamp", "c0001,p1,yesterday,1,a", first, None),
        ("events", 204, "has 2 values, not 5", "c0001,p1", first, None),
        ("events", 205, "amount: 'much' is not a decimal(12,2)", "c0002,p2,2026-03-03 10:00:00,much,a", first, None),
    ]


@pytest.mark.parametrize("budget", ["REJECT_ROWS=3", "REJECT_FRACTION=0.02"])
def test_rejects_within_the_budget_are_accepted_once(flawed: Callable[..., Settings], budget: str) -> None:
    name, value = budget.split("=")
    settings = flawed(**{f"SOURCES__EVENTS__{name}": value})
    plan = started(settings)
    ingested = ingest(settings, plan)
    assert (ingested.rows, ingested.rejects, ingested.lines) == (1801, 3, 1804)
    assert SourcesManifest.read(ingested.manifest or Path()).sources["events"].new_rejects == 3
    assert {row[-1] for row in rejects(settings)} == {plan.run_id}
    following = flawed(SOURCES__EVENTS__REJECT_ROWS="0")
    ingested = ingest(following, started(following, WEEK.plus(1)))  # the same file again, in the next week's lookback
    assert SourcesManifest.read(ingested.manifest or Path()).sources["events"].new_rejects == 0
    assert len(rejects(settings)) == 3


def test_a_reused_snapshot_needs_no_sources(settings: Settings, tmp_path: Path) -> None:
    sources = read_sources(settings, WEEK).sources
    cutoff = WEEK.cutoff(settings.zone)
    snapshot = SnapshotManifest(
        week=str(WEEK), cutoff=cutoff, sql_digest="", columns=[], rows=0, subjects=0, shards=[], sources=sources
    )
    snapshot.write(tmp_path / "manifest.json")
    plan = Plan.model_construct(reused_snapshot=tmp_path / "manifest.json", week=str(WEEK), run_id="x", folder=tmp_path)
    shutil.rmtree(settings.home)
    ingested = ingest(settings, plan)
    assert (ingested.manifest, ingested.lines) == (None, 1801)
    assert not settings.home.exists()


def test_ingested_files_say_what_they_are(settings: Settings) -> None:
    file = read_sources(settings, WEEK).sources["events"].files[0]
    assert {field.name: str(field.type) for field in pq.read_schema(file.parquet)} == {
        "customer_id": "string", "product_id": "string", "happened_at": "timestamp[us, tz=UTC]",
        "amount": "decimal128(12, 2)", "kind": "string", "__line": "int64", "__reason": "string", "__raw": "string",
    }  # fmt: skip
    assert file.parquet.name.startswith(f"{file.digest}-")
