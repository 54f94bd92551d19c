"""Scoring a shard from Parquet to Parquet, compared with scikit-learn on the same rows in memory.

    python -m benchmarks.scoring [--rows 2000000]

Each side runs the same model (20 features, 200 trees) in its own process, on all cores.
scikit-learn's time is that of `predict_proba` alone, with its frame already built. On a busy
machine compare the CPU seconds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn, Shard, SnapshotManifest
from pipeline.models.bundle import Feature, TrainingData, seal
from pipeline.models.pinned import Routing
from pipeline.models.scorer import MISSING
from pipeline.settings import Settings, Source
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
PARAMETERS: dict[str, float | int | str | bool] = {"max_iter": 200, "max_leaf_nodes": 15, "learning_rate": 0.05}


def main() -> None:
    """Print rows per second and peak memory of both sides, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        wall, cpu = SIDES[arguments.side](arguments.folder)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"wall_seconds": wall, "cpu_seconds": cpu, "peak_mib": peak_mib}))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.rows)
        pipeline, sklearn = (measured(side, folder) for side in SIDES)
    for name, side in (("pipeline", pipeline), ("scikit-learn", sklearn)):
        rates = (f"{arguments.rows / side[each]:>10,.0f} rows/{each.replace('_', ' ')[:-1]}" for each in list(side)[:2])
        print(f"{name:13}", *rates, f"{side['peak_mib']:>8,.0f} MiB")
    for measure in pipeline:
        print(f"{measure}: {pipeline[measure] / sklearn[measure]:.2f} of scikit-learn's")


def measured(side: str, folder: str) -> dict[str, float]:
    """Run one side in its own process."""
    command = [sys.executable, "-m", "benchmarks.scoring", "--side", side, "--folder", folder]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)  # type: ignore[no-any-return]


def prepare(folder: Path, rows: int) -> None:
    """Write a snapshot of one shard and a bundle."""
    from pipeline.training.pipelines.families import HIST_GRADIENT_BOOSTING, calibrated, estimator
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
    fitted = estimator(FEATURES, HIST_GRADIENT_BOOSTING, PARAMETERS, 7).fit(fitting[:50_000], labels[:50_000])
    export(calibrated(fitted, fitting[50_000:], labels[50_000:]), FEATURES, fitting[:50_000], folder / "model")
    training = TrainingData(cutoff=CUTOFF, train_weeks=[], validation_weeks=[], test_weeks=[], rows=0, digest="")
    facts: dict[str, Any] = {"parameters": {}, "metrics": {}, "code_version": "", "libraries": {}}
    digest = seal(folder / "model", features=FEATURES, training=training, **facts)
    (folder / "digest").write_text(digest)


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


def with_pipeline(folder: Path, routing: Routing | None = None) -> tuple[float, float]:
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
        bundle=folder / "model",
        bundle_digest=(folder / "digest").read_text(),
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


SIDES = {"pipeline": with_pipeline, "sklearn": with_sklearn}

if __name__ == "__main__":
    main()
