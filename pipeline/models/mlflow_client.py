"""MLflow's client, for writing to its registry; reading goes through its tables (`pipeline.models.registry`)."""

import os
from typing import TYPE_CHECKING

from pipeline.local.postgres.databases import databases
from pipeline.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


def mlflow_client(settings: Settings) -> "MlflowClient":
    """Return a client of this installation's registry; importing MLflow takes seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import; DO_NOT_TRACK is not enough
    import mlflow

    url = databases(settings).mlflow
    mlflow.set_tracking_uri(url)  # its registry finds models through the default client
    mlflow.set_registry_uri(url)
    return mlflow.MlflowClient()
