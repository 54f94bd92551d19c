"""Model versions whose numbers are far apart, in a registry: what a version answers tells which one it is."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from pipeline.manifests import FeatureColumn
from pipeline.models import registry, role_history
from pipeline.models.bundle import Feature
from pipeline.models.histograms import profile
from pipeline.models.mlflow_client import mlflow_client
from pipeline.models.profile import PROFILE_FILE
from pipeline.models.scoring.scorer import Scorer
from pipeline.service.instances.signature import Values
from pipeline.settings import Settings
from pipeline.settings.model import Routing
from pipeline.training.register import register
from pipeline.warehouse import transaction
from pipeline.weeks import Week
from tests.tiny_model import COMPANY_COLUMNS, evaluated_as_of, features_of, fit_and_export, made_up_rows, seal_made_up

MARCH = Week.parse("2026-03-02")
ROWS: list[Values] = [(3.0, 20.5, 1.0, "a"), (None, 7.0, 0.0, "never seen"), (40.0, None, None, None)]
"""Instances of the company's features."""
EXTRA = FeatureColumn(name="unheard_of", kind="number")


def add_version(settings: Settings, name: str, gloom: float, columns: Sequence[FeatureColumn] = COMPANY_COLUMNS) -> str:
    """Register a version that a fraction of the satisfied are missing from; return its number."""
    features = features_of(columns)
    rows, labels = made_up_rows(features, 600)
    labels = labels.where(np.random.default_rng(3).random(600) >= gloom, 0)
    folder = settings.home / "made" / name
    shutil.rmtree(folder, ignore_errors=True)
    fit_and_export(folder, features, rows, labels)
    made = profile(settings, pa.Table.from_pandas(rows), features, np.linspace(0, 1, 200))
    (folder / PROFILE_FILE).write_text(made.model_dump_json())
    seal_made_up(folder, features, MARCH.cutoff(settings.zone), digest=name)
    return register(settings, *evaluated_as_of(settings, folder, MARCH, name)).version


def standing(settings: Settings, champion: str | None, challenger: str | None = None) -> None:
    """Put the aliases where they are asked, as a person does in MLflow, with nothing withdrawn and no history."""
    client = mlflow_client(settings)
    for role, version in (("champion", champion), ("challenger", challenger)):
        if version is None:
            client.delete_registered_model_alias("satisfaction", role)
        else:
            client.set_registered_model_alias("satisfaction", role, version)
    with transaction(settings) as connection:
        connection.exec_driver_sql("TRUNCATE model_promotions, withdrawn_versions, published_weeks")
        role_history.ask(
            connection, kind="training", from_week=MARCH, from_version=None, to_version=champion, asked_by="training",
            reason="first champion", state="completed",
        )  # fmt: skip


def with_service(settings: Settings, **service: object) -> Settings:
    """The settings with other values in `[service]`."""
    return settings.model_copy(update={"service": settings.service.model_copy(update=service)})


def routed(settings: Settings, mode: Literal["ab", "shadow"] = "ab", fraction: float = 0.5) -> Settings:
    """The settings with the challenger's part."""
    return settings.model_copy(update={"routing": Routing(mode=mode, fraction=fraction)})


def answers_of(settings: Settings, version: str, rows: Sequence[Values] = ROWS) -> list[float]:
    """What batch scoring says of the rows with this version."""
    folder, digest = registry.bundle_of(settings, version)
    scorer = Scorer.load(folder, digest, threshold=settings.model.threshold)
    return scorer.score(record_batch(rows, scorer.features)).column("satisfaction").to_pylist()


def record_batch(rows: Sequence[Values], features: Sequence[Feature]) -> pa.RecordBatch:
    """The rows as a snapshot's shard holds them."""
    columns = zip(features, zip(*rows, strict=True), strict=True)
    return pa.record_batch(
        {
            feature.name: pa.array([None if value is None else float(value) for value in column], pa.float32())
            if feature.kind == "number"
            else pa.array(column, pa.string())
            for feature, column in columns
        }
    )


def altered(path: Path) -> bytes:
    """Change one byte of a file and return what it held."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return content
