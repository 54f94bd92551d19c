"""How close the tuned model comes to the best possible one on the sample company.

    python -m benchmarks.quality [--customers 60000] [--weeks 26] [--minutes 5]

It makes a large sample, trains on it as `barometer train` does, and prints figures for the same
test weeks: of the tuned model; of the generator's true probabilities, which a model can beat only
by chance; of a plain logistic regression (standardised numbers, one-hot categories, scikit-learn's
defaults) on the same train weeks; and of the base rate. It exits with 1 if the model's AUC is more
than 0.02 below the best or not above the plain one, or if its calibration error is above 0.02.
"""

import argparse
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from examples.sample import generate, true_probabilities
from pipeline.local.postgres import embedded
from pipeline.manifests import TrainingSetManifest, TrainingWeek
from pipeline.models.bundle import open_bundle
from pipeline.models.evaluation_metrics import estimates
from pipeline.models.scoring.scorer import Scorer
from pipeline.settings import ROOT, Settings, load_settings
from pipeline.training.collect import collect
from pipeline.training.evaluate import evaluate
from pipeline.training.evaluation.measures import ScoredRows, score_rows
from pipeline.training.fit import fit
from pipeline.training.handoffs import TrainingPlan, TrainingSet
from pipeline.training.training_plan import plan_training
from pipeline.training.training_set import answers, features_of, frame, read_weeks, split
from pipeline.training.tune import tune
from pipeline.weeks import Week

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FEWEST_TEST_ROWS = 20_000
FARTHEST_FROM_BEST = 0.02
MOST_CALIBRATION_ERROR = 0.02


def main() -> int:
    """Print the figures side by side; return 0 if they are as claimed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=60_000)
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = sample_settings(Path(folder), arguments.minutes)
        end = Week.last_complete(datetime.now(UTC), settings.zone)
        generate(settings.landing, arguments.customers, arguments.weeks, 7, end)
        plan = plan_training(settings, as_of=end, airflow_run_id="quality")
        training_set = collect(settings, plan)
        try:
            predictions, test = trained(settings, plan, training_set)
        finally:
            embedded.remove(settings.home)
        rows = ScoredRows.of(test, predictions["tuned"], None, seed=settings.model.seed)
    return reported(rows, predictions)


def sample_settings(home: Path, minutes: float) -> Settings:
    """Return the sample company's settings with the default search space and the given budget."""
    environ = {**os.environ, "BAROMETER_CONFIG": str(ROOT / "pipeline.toml"), "BAROMETER_HOME": str(home / "home")}
    settings = load_settings(environ)
    tuning = settings.tuning.model_copy(update={"minutes": minutes, "candidates": 24, "folds": 3, "space": {}})
    return settings.model_copy(update={"tuning": tuning})


def trained(
    settings: Settings, plan: TrainingPlan, training_set: TrainingSet
) -> tuple[dict[str, NDArray[np.float64]], pa.Table]:
    """Train, and return the predictions of all four for the test rows, and these rows."""
    tuned = tune(settings, plan, training_set)
    print(f"chosen: {tuned.family} {tuned.parameters} in {tuned.seconds:.0f} s", *tuned.left_out, sep="\n  ")
    evaluated = evaluate(settings, plan, training_set, fit(settings, plan, training_set, tuned))
    bundle = open_bundle(evaluated.bundle, evaluated.bundle_digest)
    manifest, folder = TrainingSetManifest.read(training_set.manifest), training_set.manifest.parent
    parts = split(settings, manifest)
    train, test = read_weeks(folder, parts.train), read_weeks(folder, parts.test)
    features = features_of(manifest, train)
    plain = plain_logistic_regression([f.name for f in features if f.kind == "number"])
    plain.fit(frame(train, features), answers(train))
    scorer = Scorer.load(evaluated.bundle, evaluated.bundle_digest, threshold=settings.model.threshold)
    print(f"{train.num_rows:,} train rows, {test.num_rows:,} test rows, {len(bundle.features)} features\n")
    return {
        "tuned": score_rows(scorer, test),
        "best reachable": truth(settings.landing, parts.test, test),
        "plain logistic": plain.predict_proba(frame(test, features))[:, 1],
        "base rate": np.full(test.num_rows, answers(train).mean()),
    }, test


def plain_logistic_regression(numbers: list[str]) -> "Pipeline":
    """Return the pipeline that a person would write first."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(
        make_column_transformer((scaled, numbers), remainder=one_hot), LogisticRegression(max_iter=1000)
    )


def truth(landing: Path, weeks: list[TrainingWeek], test: pa.Table) -> NDArray[np.float64]:
    """Return each test row's true probability, in the rows' order."""
    found: list[float] = []
    for week in weeks:
        rows = test.slice(len(found), week.rows)
        keys = zip(rows["customer_id"].to_pylist(), rows["product_id"].to_pylist(), strict=True)
        known = {
            (row["customer_id"], row["product_id"]): row["probability"]
            for table in true_probabilities(landing, Week.parse(week.week))
            for row in table.to_pylist()
        }
        found += [known[key] for key in keys]
    return np.array(found)


def reported(rows: ScoredRows, predictions: dict[str, NDArray[np.float64]]) -> int:
    """Print a line for each; return 1 if the tuned model is not as good as claimed."""
    names = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
    print(f"{'':16}", *(f"{name:>26}" for name in names))
    found = {}
    for name, satisfaction in predictions.items():
        found[name] = estimates(rows.labels, satisfaction, rows.subjects, seed=rows.seed)
        cells = (f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})" for e in (found[name][metric] for metric in names))
        print(f"{name:16}", *(f"{cell:>26}" for cell in cells))
    auc = {name: measured["roc_auc"].value for name, measured in found.items()}
    claims = {
        f"at least {FEWEST_TEST_ROWS:,} test rows": len(rows.labels) >= FEWEST_TEST_ROWS,
        f"AUC within {FARTHEST_FROM_BEST} of the best reachable": auc["tuned"]
        > auc["best reachable"] - FARTHEST_FROM_BEST,
        "AUC above the plain logistic regression's": auc["tuned"] > auc["plain logistic"],
        f"calibration error at most {MOST_CALIBRATION_ERROR}": found["tuned"]["calibration_error"].value
        <= MOST_CALIBRATION_ERROR,
    }
    print("", *(f"{'yes' if holds else 'NO '} {claim}" for claim, holds in claims.items()), sep="\n")
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
