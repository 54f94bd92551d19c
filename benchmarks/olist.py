"""The second company, from its files to 21 published weeks, and how well they foretell the later reviews.

    OLIST_DATA=/path/to/olist python -m benchmarks.olist

Trains through the end of March 2018, backfills the weeks from 2018-04-02 to 2018-08-20 with the commands of the
example's README, each week as of its own end, and compares what was published with what customers said. Beside it a
plain HistGradientBoosting, fitted to all rows of the same training set and asked about the same rows. The model has
seen no review of these weeks, and no feature has one of the week's own; but many are there by the week's end, so those
that came after it are shown apart. Exits with 1 when a bound is missed. The state goes to `BAROMETER_HOME`, or to a
folder that is removed again.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.local.postgres import embedded
from pipeline.manifests import SnapshotManifest, SourcesManifest, TrainingSetManifest
from pipeline.models.evaluation_metrics import Estimate, differences, estimates
from pipeline.point_in_time.labels import known_labels
from pipeline.settings import ROOT, Settings, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.training.training_set import LABEL
from pipeline.weeks import Week

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CONFIG = ROOT / "examples/olist/pipeline.toml"
TRAINED_AS_OF, FIRST, LAST = Week.parse("2018-03-26"), Week.parse("2018-04-02"), Week.parse("2018-08-20")
END = Week.parse("2018-12-31")
"""By then every review is there."""
WEEKS = 21
MOST_SECONDS = 600
LEAST_DIFFERENCE = -0.02
SUBJECT = ["week", "customer_id", "product_id"]
SEED = 7


def main() -> None:
    """Train, backfill, compare, print, and judge."""
    home = os.environ.get("BAROMETER_HOME") or tempfile.mkdtemp(prefix="olist-")
    environ = {**os.environ, "BAROMETER_CONFIG": str(CONFIG), "BAROMETER_HOME": home}
    try:
        is_good = _measured(environ)
    finally:
        if "BAROMETER_HOME" not in os.environ:
            embedded.remove(Path(home))
            shutil.rmtree(home, ignore_errors=True)
    sys.exit(0 if is_good else 1)


def _measured(environ: dict[str, str]) -> bool:
    _, training_seconds = _barometer(environ, "train", "--as-of", str(TRAINED_AS_OF))
    records, seconds = _barometer(environ, "backfill", "--from", str(FIRST), "--to", str(LAST), "--json")
    runs = json.loads(records)
    print(f"training    {training_seconds:6.1f} s")
    print(f"backfill    {seconds:6.1f} s for {len(runs)} weeks; asked: at most {MOST_SECONDS}")
    settings = load_settings(environ)
    whole = sum(run["subjects"] == run["predicted"] + run["quarantined"] for run in runs)
    ignorant = sum(not run["trained_after_cutoff"] for run in runs)
    subjects = sum(run["subjects"] for run in runs)
    quarantined = sum(run["quarantined"] for run in runs)
    print(f"weeks       {whole} of {WEEKS} whole, {ignorant} by a model that knows nothing from after their cutoff")
    print(f"subjects    {subjects:,}, of whom {quarantined} quarantined; {runs[-1]['rejects']} rejects in the sources")
    difference, _ = [_compared(answers) for answers in _answers(settings, runs)]
    print(f"asked: a difference from {LEAST_DIFFERENCE} up for all of them; the last ones are too few to tell as much")
    return whole == ignorant == WEEKS and seconds <= MOST_SECONDS and difference.low >= LEAST_DIFFERENCE


def _barometer(environ: dict[str, str], *arguments: str) -> tuple[str, float]:
    """Run a command to its end; return what it printed and its seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout, time.perf_counter() - started


@dataclass(frozen=True)
class Answers:
    """Published predictions with the answers, and what the plain model says of the same rows."""

    of: str
    labels: "NDArray[Any]"
    published: "NDArray[Any]"
    plain: "NDArray[Any]"
    customers: "NDArray[Any]"


def _answers(settings: Settings, runs: list[dict[str, Any]]) -> list[Answers]:
    """Return the rows that were answered at any time, and those of them that were answered after their week only."""
    sources = read_sources(settings, LAST)
    rows = _predictions(settings).merge(_plain_predictions(settings, runs), on=SUBJECT, validate="one_to_one")
    rows = rows.merge(_labels(settings, sources, END), on=SUBJECT, validate="one_to_one")
    by_week = [(week, _labels(settings, sources, Week.parse(week))[SUBJECT]) for week in sorted(set(rows["week"]))]
    known = {subject for week, labels in by_week for subject in _subjects(labels[labels["week"] == week])}
    is_later = np.array([subject not in known for subject in _subjects(rows)])
    named = {"all reviews of what was delivered": rows, "those that came after the week's end": rows[is_later]}
    return [
        Answers(
            of=of,
            labels=part["satisfied"].to_numpy(dtype=np.int8),
            published=part["satisfaction"].to_numpy(),
            plain=part["plain"].to_numpy(),
            customers=part["customer_id"].to_numpy(dtype=str),
        )
        for of, part in named.items()
    ]


def _predictions(settings: Settings) -> "pd.DataFrame":
    import pandas as pd

    from pipeline.warehouse import transaction

    with transaction(settings) as connection:
        return pd.read_sql(
            "SELECT CAST(week AS text) AS week, customer_id, product_id, satisfaction FROM predictions", connection
        )


def _plain_predictions(settings: Settings, runs: list[dict[str, Any]]) -> "pd.DataFrame":
    """Fit scikit-learn's gradient boosting as it comes, and ask it about the published snapshots."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    folder = max((settings.home / "training").glob("*/set"), key=lambda path: path.stat().st_mtime)
    manifest = TrainingSetManifest.read(folder / "manifest.json")
    training = pa.concat_tables([pq.read_table(folder / week.file) for week in manifest.weeks]).to_pandas()
    numbers, categories = ([c.name for c in manifest.columns if c.kind == kind] for kind in ("number", "category"))
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    features = make_column_transformer((encoder, categories), ("passthrough", numbers))
    plain = make_pipeline(features, HistGradientBoostingClassifier(random_state=SEED))
    plain.fit(training, training[LABEL].astype(int))
    frames = []
    for run in runs:
        path = Path(run["snapshot_manifest"])
        files = SnapshotManifest.read(path).checked_files(path.parent)
        rows = pa.concat_tables([pq.read_table(file) for file in files]).to_pandas()
        frames.append(rows[SUBJECT[1:]].assign(week=run["week"], plain=plain.predict_proba(rows)[:, 1]))
    return pd.concat(frames, ignore_index=True)


def _labels(settings: Settings, sources: SourcesManifest, week: Week) -> "pd.DataFrame":
    labels = known_labels(settings, sources, week.cutoff(settings.zone))[0].to_pandas()
    return labels.assign(week=labels["week"].astype(str))


def _subjects(rows: "pd.DataFrame") -> list[tuple[str, str, str]]:
    return list(rows[SUBJECT].itertuples(index=False, name=None))


def _compared(answers: Answers) -> Estimate:
    """Print the AUC of both; return their difference."""
    labels, customers = answers.labels, answers.customers
    sides = {"published": answers.published, "plain HistGradientBoosting": answers.plain}
    print(f"\n{answers.of}: {len(labels):,} subjects, {labels.mean():.1%} satisfied")
    for name, satisfaction in sides.items():
        measured = estimates(labels, satisfaction, customers, seed=SEED)
        print(f"  {name:27} AUC {_with_interval(measured['roc_auc'])}  log loss {measured['log_loss'].value:.3f}")
    difference = differences(labels, answers.plain, answers.published, customers, seed=SEED)["roc_auc"]
    print(f"  {'paired difference':27} AUC {_with_interval(difference)}")
    return difference


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:6.3f} [{estimate.low:6.3f}, {estimate.high:6.3f}]"


if __name__ == "__main__":
    main()
