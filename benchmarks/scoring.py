"""Scoring a shard from Parquet to Parquet and in memory, compared with scikit-learn on the same rows.

    python -m benchmarks.scoring [--rows 2000000] [--repeats 3]

For both families (20 features; 200 trees of 31 leaves) it measures bare `predict_proba` with its frame already built,
the stage `score` of the weekly run, and the scorer alone on record batches in memory, each with the exact engine and
with ONNX Runtime. Every side has a process of its own, and the sides take turns. On a busy machine compare the CPU
seconds, and the minima of several repeats.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn, Shard, SnapshotManifest
from pipeline.models.bundle import ARRAYS_FILE, Feature, TrainingData, seal
from pipeline.models.pinned import Routing
from pipeline.models.scoring.columns import MISSING
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import Settings, Source
from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, LOGISTIC_REGRESSION
from pipeline.weekly.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.weekly.score import score

WEEK = "2026-03-02"
CUTOFF = datetime(2026, 3, 9, tzinfo=UTC)
CATEGORIES = [f"value {number}" for number in range(8)]
FEATURES = [Feature(name=f"number_{n}", kind="number") for n in range(16)] + [
    Feature(name=f"category_{n}", kind="category", categories=CATEGORIES) for n in range(4)
]
FITTING_ROWS = 60_000
MISSING_FRACTION = 0.1
PARAMETERS: dict[str, float | int | str | bool] = {"max_iter": 200, "max_leaf_nodes": 31, "learning_rate": 0.05}
BATCH_ROWS = 65_536


def main() -> None:
    """Print each side's CPU microseconds a row, wall seconds and peak memory, and the ratios to scikit-learn's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        wall, cpu = SIDES[arguments.side](arguments.folder)
        # The peak since this program began; getrusage counts its parent's too.
        peak_kib = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(json.dumps({"wall": wall, "cpu": cpu, "peak_mib": int(peak_kib[1]) / 1024 if peak_kib else 0}))
        return
    for family in (HIST_GRADIENT_BOOSTING, LOGISTIC_REGRESSION):
        with tempfile.TemporaryDirectory() as temporary:
            prepare(Path(temporary), arguments.rows, family)
            turns = [{side: measured(side, temporary) for side in SIDES} for _ in range(arguments.repeats)]
        print(f"{family}, {arguments.rows:,} rows; minimum and median of {arguments.repeats}")
        for side in SIDES:
            report(side, turns, arguments.rows)


def report(side: str, turns: list[dict[str, dict[str, float]]], rows: int) -> None:
    """Print the figures of a side."""
    cpu, wall, peak = ([turn[side][measure] for turn in turns] for measure in ("cpu", "wall", "peak_mib"))
    ratios = [min(turn[side][m] for turn in turns) / min(turn["sklearn"][m] for turn in turns) for m in ("cpu", "wall")]
    print(
        f"  {side:18} {min(cpu) / rows * 1e6:6.2f} {median(cpu) / rows * 1e6:6.2f} CPU us/row"
        f" {min(wall):7.2f} {median(wall):7.2f} s {max(peak):6,.0f} MiB;"
        f" of scikit-learn's CPU {ratios[0]:.3f}, wall {ratios[1]:.3f}"
    )


def measured(side: str, folder: str) -> dict[str, float]:
    """Run one side in its own process."""
    command = [sys.executable, "-m", "benchmarks.scoring", "--side", side, "--folder", folder]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)  # type: ignore[no-any-return]


def prepare(folder: Path, rows: int, family: str = HIST_GRADIENT_BOOSTING) -> None:
    """Write a snapshot of one shard, a bundle, and one with the same model that ONNX Runtime scores."""
    from pipeline.training.pipelines.families import calibrated, estimator, round_to_float32
    from pipeline.training.pipelines.onnx_export import export
    from pipeline.training.training_set import frame

    random = np.random.default_rng(7)
    snapshot = folder / "snapshot"
    snapshot.mkdir()
    with pq.ParquetWriter(snapshot / "shard-0000.parquet", made_up(random, 1, 0).schema) as writer:
        for first in range(0, rows, 100_000):
            writer.write_table(made_up(random, min(100_000, rows - first), first))
    fitting = frame(made_up(random, FITTING_ROWS, 0), FEATURES)
    margin = fitting["number_0"].fillna(0) + fitting["number_1"].fillna(0) * (fitting["category_0"] == CATEGORIES[0])
    labels = (margin + random.logistic(size=FITTING_ROWS) > 0).astype("int8")
    parameters = PARAMETERS if family == HIST_GRADIENT_BOOSTING else {}
    fitted = round_to_float32(estimator(FEATURES, family, parameters, 7).fit(fitting[:50_000], labels[:50_000]))
    export(calibrated(fitted, fitting[50_000:], labels[50_000:]), FEATURES, fitting[:50_000], folder / "model", family)
    training = TrainingData(cutoff=CUTOFF, train_weeks=[], validation_weeks=[], test_weeks=[], rows=0, digest="")
    facts: dict[str, Any] = {"parameters": {}, "metrics": {}, "code_version": "", "libraries": {}}
    shutil.copytree(folder / "model", folder / "onnx")
    (folder / "onnx" / ARRAYS_FILE).unlink()
    for model in ("model", "onnx"):
        digest = seal(folder / model, features=FEATURES, training=training, **facts)
        (folder / model).with_suffix(".digest").write_text(digest)


def made_up(random: np.random.Generator, rows: int, first: int) -> pa.Table:
    """Return rows as in a snapshot, with a tenth of the values missing."""
    columns: dict[str, Any] = {
        "customer_id": pa.array(f"c{number:09d}" for number in range(first, first + rows)),
        "product_id": pa.array(f"p{number % 12}" for number in range(rows)),
    }
    for feature in FEATURES:
        missing = random.random(rows) < MISSING_FRACTION
        if feature.kind == "number":
            values = pa.array(random.normal(size=rows).astype("float32"), mask=missing)
        else:
            values = pa.array(
                np.array(CATEGORIES, dtype=object)[random.integers(len(CATEGORIES), size=rows)], mask=missing
            )
        columns[feature.name] = values
    columns["info_name"] = pa.array(f"Customer {number}" for number in range(first, first + rows))
    return pa.table(columns)


def with_pipeline(folder: Path, routing: Routing | None = None, model: str = "model") -> tuple[float, float]:
    """Score the shard as the weekly run does."""
    snapshot = folder / "snapshot"
    shard = snapshot / "shard-0000.parquet"
    rows = pq.read_metadata(shard).num_rows
    columns = [FeatureColumn(name=feature.name, kind=feature.kind) for feature in FEATURES]
    shards = [Shard(file=shard.name, rows=rows, digest=sha256_of_file(shard))]
    SnapshotManifest(
        week=WEEK, cutoff=CUTOFF, sql_digest="", columns=columns, rows=rows, subjects=rows, shards=shards, sources={}
    ).write(snapshot / "manifest.json")
    quarantine = folder / "quarantine.parquet"
    pq.write_table(pa.table({"shard": pa.array([], pa.int32()), "row": pa.array([], pa.int64())}), quarantine)
    plan = Plan(
        run_id=f"{WEEK}.1",
        week=WEEK,
        cutoff=CUTOFF,
        model_version="1",
        model_reason="",
        trained_after_cutoff=False,
        bundle=folder / model,
        bundle_digest=(folder / model).with_suffix(".digest").read_text(),
        routing=routing or Routing(),
        reused_snapshot=None,
        folder=folder / "run",
    )
    settings = Settings(
        config_file=folder / "pipeline.toml", home=folder, sources={"none": Source(path="none.csv", columns={})}
    )
    started = time.perf_counter(), time.process_time()
    score(
        settings,
        plan,
        Snapshot(manifest=snapshot / "manifest.json", digest="", subjects=rows, rows=rows, shards=1),
        FeaturesValidated(quarantine=quarantine, quarantined=0, expectations=0, warnings=0),
        0,
    )
    return time.perf_counter() - started[0], time.process_time() - started[1]


def in_memory(folder: Path, model: str = "model") -> tuple[float, float]:
    """Score record batches that are in memory already, their categories as dictionaries."""
    digest = (folder / model).with_suffix(".digest").read_text()
    scorer = Scorer.load(folder / model, digest, threshold=0.5)
    text = [feature.name for feature in FEATURES if feature.kind == "category"]
    table = pq.read_table(folder / "snapshot" / "shard-0000.parquet", read_dictionary=text)
    batches = table.combine_chunks().to_batches(BATCH_ROWS)
    started = time.perf_counter(), time.process_time()
    for batch in batches:
        scorer.score(batch)
    return time.perf_counter() - started[0], time.process_time() - started[1]


def with_sklearn(folder: Path) -> tuple[float, float]:
    """Predict the same rows from a frame in memory."""
    import skops.io

    model = folder / "model" / "model.skops"
    pipeline = skops.io.load(model, trusted=skops.io.get_untrusted_types(file=model))
    names = [feature.name for feature in FEATURES]
    rows = pq.read_table(folder / "snapshot" / "shard-0000.parquet", columns=names).to_pandas()
    text = [feature.name for feature in FEATURES if feature.kind == "category"]
    rows[text] = rows[text].astype(object).fillna(MISSING)
    started = time.perf_counter(), time.process_time()
    pipeline.predict_proba(rows)
    return time.perf_counter() - started[0], time.process_time() - started[1]


SIDES: dict[str, Callable[[Path], tuple[float, float]]] = {
    "sklearn": with_sklearn,
    "stage score": with_pipeline,
    "stage score, ONNX": partial(with_pipeline, model="onnx"),
    "in memory": in_memory,
    "in memory, ONNX": partial(in_memory, model="onnx"),
}

if __name__ == "__main__":
    main()
