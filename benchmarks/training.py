"""Training on a million rows, compared with the same scikit-learn search alone.

    python -m benchmarks.training [--rows 1000000] [--candidates 8] [--folds 2]

Each side runs in its own process and searches the same candidates on the same folds and rows.
Barometer's side is everything from the collected training set to the sealed bundle: reading and
checking the files, the search, fitting the winner, calibration, ONNX, parity, evaluation with
intervals, profile and card. scikit-learn's side is HalvingRandomSearchCV for each family, with its
frame already built, and the refit of the winner.
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scoring import FEATURES, made_up
from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn, TrainingSetManifest, TrainingWeek
from pipeline.settings import Settings, Source
from pipeline.settings.model import Model, Tuning
from pipeline.training.handoffs import TrainingPlan, TrainingSet
from pipeline.training.training_set import LABEL, answers, features_of, frame, read_weeks, split
from pipeline.weeks import Week

WEEKS = 16
VALIDATION_WEEKS, TEST_WEEKS = 2, 3
FIRST_WEEK = Week.parse("2026-01-05")
AT_MOST = 1.3


def main() -> int:
    """Print the seconds and the peak memory of both sides; return 0 if their ratio is as claimed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="Rows of the train weeks.")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    tuning = Tuning(minutes=600, candidates=arguments.candidates, folds=arguments.folds)
    if arguments.side:
        measured = SIDES[arguments.side](arguments.folder, tuning)
        measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(measured))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.rows)
        ours, sklearn = (_in_its_own_process(side, Path(folder), arguments) for side in SIDES)
    for name, side in (("Barometer", ours), ("scikit-learn", sklearn)):
        print(f"{name:13}", ", ".join(f"{measure} {value:,.1f}" for measure, value in side.items()))
    ratios = {measure: ours[measure] / sklearn[measure] for measure in ("wall_seconds", "cpu_seconds")}
    print(", ".join(f"{measure}: {ratio:.2f} of scikit-learn's" for measure, ratio in ratios.items()))
    return 0 if ratios["cpu_seconds"] <= AT_MOST else 1


def _in_its_own_process(side: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    options = ["--candidates", str(arguments.candidates), "--folds", str(arguments.folds)]
    command = [sys.executable, "-m", "benchmarks.training", "--side", side, "--folder", str(folder), *options]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def prepare(folder: Path, rows: int) -> None:
    """Write a training set of made-up weeks, as `collect` does."""
    random = np.random.default_rng(7)
    per_week = rows // (WEEKS - VALIDATION_WEEKS - TEST_WEEKS)
    weeks = []
    for number in range(WEEKS):
        week, table = FIRST_WEEK.plus(number), made_up(random, per_week, 0)
        known = [np.nan_to_num(table[f"number_{n}"].to_numpy()) for n in range(4)]
        margin = known[0] + np.where(known[1] > 0, known[2], -known[2]) - np.abs(known[3]) + 1
        label = pa.array((margin + random.logistic(size=per_week) > 0).astype("int8"))
        path = folder / f"{week}.parquet"
        pq.write_table(table.append_column(LABEL, label), path)
        satisfied = int(label.sum().as_py())
        weeks.append(
            TrainingWeek(
                week=str(week), file=path.name, rows=per_week, satisfied=satisfied, digest=sha256_of_file(path)
            )
        )
    columns = [FeatureColumn(name=feature.name, kind=feature.kind) for feature in FEATURES]
    TrainingSetManifest(
        cutoff=datetime(2026, 6, 1, tzinfo=UTC),
        columns=columns,
        features_sql_digest="",
        labels_sql_digest="",
        weeks=weeks,
    ).write(folder / "manifest.json")


def settings_of(folder: Path, tuning: Tuning) -> Settings:
    """Return settings without a registry, and so without a champion."""
    return Settings(
        config_file=folder / "pipeline.toml",
        home=folder,
        sources={"none": Source(path="none.csv", columns={})},
        model=Model(validation_weeks=VALIDATION_WEEKS, test_weeks=TEST_WEEKS),
        tuning=tuning,
    )


def with_barometer(folder: Path, tuning: Tuning) -> dict[str, float]:
    """Train as the DAG does, starting with the collected set."""
    from pipeline.local.postgres import embedded
    from pipeline.training.evaluate import evaluate
    from pipeline.training.fit import fit
    from pipeline.training.tune import tune

    settings = settings_of(folder, tuning)
    manifest = TrainingSetManifest.read(folder / "manifest.json")
    rows, satisfied = (sum(getattr(week, name) for week in manifest.weeks) for name in ("rows", "satisfied"))
    training_set = TrainingSet(
        manifest=folder / "manifest.json", digest=manifest.digest, weeks=WEEKS, rows=rows, satisfied=satisfied
    )
    last = FIRST_WEEK.plus(WEEKS)
    plan = TrainingPlan(
        training_id="benchmark", as_of=str(last), cutoff=manifest.cutoff, weeks=[], folder=folder / "training"
    )
    started, cpu_before = time.perf_counter(), time.process_time()
    tuned = tune(settings, plan, training_set)
    searched = time.perf_counter()
    fitted = fit(settings, plan, training_set, tuned)
    exported = time.perf_counter()
    try:
        evaluate(settings, plan, training_set, fitted)
    finally:
        embedded.remove(folder)
    ended = time.perf_counter()
    return {
        "wall_seconds": ended - started,
        "cpu_seconds": time.process_time() - cpu_before,
        "tune": searched - started,
        "fit": exported - searched,
        "evaluate": ended - exported,
    }


def with_sklearn(folder: Path, tuning: Tuning) -> dict[str, float]:
    """Search the same candidates on the same folds, and fit the winner."""
    from math import floor, log

    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    from pipeline.training.halving import CLASSIFIER, FACTOR
    from pipeline.training.pipelines.families import SPACES, estimator
    from pipeline.training.tune import fold_rows, folds

    settings = settings_of(folder, tuning)
    manifest = TrainingSetManifest.read(folder / "manifest.json")
    weeks = split(settings, manifest).train
    table = read_weeks(folder, weeks)
    features = features_of(manifest, table)
    rows, labels = frame(table, features), answers(table)
    candidates = tuning.candidates // len(SPACES)
    started, cpu_before = time.perf_counter(), time.process_time()  # with the frame already built
    searches = []
    for family, space in SPACES.items():
        halving = HalvingRandomSearchCV(
            estimator(features, family, {}, settings.model.seed),
            {CLASSIFIER + name: values for name, values in space.items()},
            n_candidates=candidates,
            factor=FACTOR,
            min_resources=len(rows) // FACTOR ** floor(log(candidates, FACTOR)),
            cv=fold_rows(weeks, folds(weeks, tuning.folds)),
            scoring="roc_auc",
            refit=False,
            return_train_score=False,
            random_state=settings.model.seed,
        )
        searches.append(halving.fit(rows, labels))
    best = max(searches, key=lambda halving: halving.best_score_)
    searched = time.perf_counter()
    best.estimator.set_params(**best.best_params_).fit(rows, labels)
    ended = time.perf_counter()
    return {
        "wall_seconds": ended - started,
        "cpu_seconds": time.process_time() - cpu_before,
        "tune": searched - started,
        "fit": ended - searched,
    }


SIDES = {"barometer": with_barometer, "sklearn": with_sklearn}

if __name__ == "__main__":
    raise SystemExit(main())
