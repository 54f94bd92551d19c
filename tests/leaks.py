"""What a company's configuration makes of its files as of a cutoff, for tests that plant later facts in the files."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn, SnapshotManifest, TrainingSetManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.training.collect import collect
from pipeline.training.training_plan import plan_training
from pipeline.weekly.handoffs import FeaturesValidated, Snapshot
from pipeline.weekly.score import score
from pipeline.weeks import Week
from tests.handmade import make_plan
from tests.tiny_model import tiny_bundle

TRAINING_WEEKS = 4


@dataclass(frozen=True)
class Model:
    """A bundle that fits the company's features; one and the same for all that is compared."""

    folder: Path
    digest: str


def made(config: Path, landing: Path, home: Path, week: Week, model: Model) -> dict[str, str]:
    """Return the sha256 of each file that the week's end gives: snapshot, training set, predictions."""
    settings = settings_of(config, landing, home)
    snapshot = build_snapshot(settings, week, read_sources(settings, week), home / "snapshot")
    manifest = SnapshotManifest.read(snapshot)
    training = collect(settings, plan_training(settings, as_of=week, airflow_run_id="leaks"))
    weeks = TrainingSetManifest.read(training.manifest).weeks
    assert manifest.subjects > 100
    assert len(weeks) == TRAINING_WEEKS
    return {
        "the snapshot": manifest.digest,
        "the training set": training.digest,
        **{f"features {shard.file}": shard.digest for shard in manifest.shards},
        **{f"training {week.week}": week.digest for week in weeks},
        **{f"predictions {n}": _scored(settings, snapshot, n, model) for n in range(len(manifest.shards))},
    }


def model_of(config: Path, landing: Path, folder: Path, week: Week) -> Model:
    """Return a model for the features that the company's SQL returns."""
    settings = settings_of(config, landing, folder / "home")
    snapshot = SnapshotManifest.read(
        build_snapshot(settings, week, read_sources(settings, week), folder / "home/snapshot")
    )
    columns: list[FeatureColumn] = snapshot.columns
    return Model(folder / "model", tiny_bundle(folder / "model", columns, datetime(2016, 1, 4, tzinfo=UTC)))


def settings_of(config: Path, landing: Path, home: Path) -> Settings:
    """Return a company's settings for its files in another folder."""
    return load_settings(
        {
            "BAROMETER_CONFIG": str(config),
            "BAROMETER_HOME": str(home),
            "BAROMETER__PATHS__LANDING": str(landing),
            "BAROMETER__MODEL__TRAINING_WEEKS": str(TRAINING_WEEKS),
        }
    )


def unknown_columns(file: Path, settings: Settings, snapshot: SnapshotManifest) -> set[str]:
    """Return the columns that a suite names and that its table does not have."""
    columns = {
        "features": ["customer_id", "product_id", *(column.name for column in snapshot.columns)],
        "predictions": ["week", "customer_id", "product_id", "satisfaction"],
    } | {name: list(source.columns) for name, source in settings.sources.items()}
    suite = json.loads(file.read_text())
    assert suite["name"] == file.stem
    kwargs = [expectation["kwargs"] for expectation in suite["expectations"]]
    named = {name for each in kwargs for name in [each.get("column"), *each.get("column_list", [])] if name}
    return named - set(columns[file.stem])


def _scored(settings: Settings, snapshot: Path, shard: int, model: Model) -> str:
    manifest = SnapshotManifest.read(snapshot)
    nobody = settings.home / "quarantine.parquet"
    pq.write_table(pa.table({"shard": pa.array([], pa.int32()), "row": pa.array([], pa.int64())}), nobody)
    plan = make_plan(settings, f"{manifest.week}.1", bundle=model.folder, bundle_digest=model.digest)
    counts = {"subjects": manifest.subjects, "rows": manifest.rows, "shards": len(manifest.shards)}
    features = Snapshot(manifest=snapshot, digest=manifest.digest, **counts)
    validated = FeaturesValidated(quarantine=nobody, quarantined=0, expectations=0, warnings=0)
    return sha256_of_file(score(settings, plan, features, validated, shard).file)
