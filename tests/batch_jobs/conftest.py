"""A job of the test company: its file, its stages, and its results."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.batch_jobs.completion import complete_job
from pipeline.batch_jobs.file_rows import read_rows
from pipeline.batch_jobs.job_handoffs import FilePlan, FileScored
from pipeline.batch_jobs.places import files_folder, hand_in, incoming
from pipeline.batch_jobs.row_scoring import score_shard
from pipeline.batch_jobs.row_validation import validate_rows
from pipeline.files import sha256_of_file
from pipeline.models.pinned import Routing
from pipeline.settings import Settings
from tests.tiny_model import tiny_bundle

GOOD = {"customer_id": "c1", "product_id": "p1", "events": 3, "amount": 20.5, "is_busy": True, "kind": "a"}


@dataclass(frozen=True)
class Done:
    """A job that has ended."""

    scored: FileScored
    results: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and digest of a bundle."""
    folder = tmp_path_factory.mktemp("bundle") / "model"
    return folder, tiny_bundle(folder)


@pytest.fixture
def planned(settings: Settings, sealed: tuple[Path, str]) -> Callable[..., FilePlan]:
    """Hand a file in and plan its job."""

    def plan(content: bytes, suffix: str, job_id: str = "job1", **changes: Any) -> FilePlan:
        arrived = incoming(settings)
        arrived.write_bytes(content)
        digest = sha256_of_file(arrived)
        path = files_folder(settings) / hand_in(settings, job_id, arrived, digest, suffix)
        fields = {
            "job_id": job_id,
            "folder": path.parent,
            "uri": str(path),
            "digest": digest,
            "format": None,
            "model_version": "3",
            "model_reason": "the champion",
            "trained_after_cutoff": False,
            "bundle": sealed[0],
            "bundle_digest": sealed[1],
            "routing": Routing(),
        }
        return FilePlan.model_validate(fields | changes)

    return plan


@pytest.fixture
def done(settings: Settings, planned: Callable[..., FilePlan]) -> Callable[..., Done]:
    """Hand a file in and run all stages."""

    def run(content: bytes, suffix: str, **changes: Any) -> Done:
        return through(settings, planned(content, suffix, **changes))

    return run


def through(settings: Settings, plan: FilePlan) -> Done:
    rows = read_rows(settings, plan)
    validated = validate_rows(settings, plan, rows)
    scored = [score_shard(settings, plan, rows, validated, shard) for shard in range(rows.shards)]
    ended = complete_job(settings, plan, rows, validated, list(reversed(scored)))
    return Done(ended, pq.read_table(ended.results).to_pylist(), pq.read_table(ended.rejects).to_pylist())


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(rows[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in rows)]
    return "\n".join(lines).encode()


def jsonl_of(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1)
