"""The settings that a cloud's platform expects of the containers that it runs: port, model folder, limits, paths.

They come from its documentation and its environment variables; what the configuration sets wins. A variable without a
possible value raises a `ConfigError`. Entry points: `contract_overrides`, for the command that starts the service, and
`vertex_paths`.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ConfigError
from pipeline.settings import Settings

MEGABYTE = 2**20
MOST_MEGABYTES = 100
"""SageMaker's largest payload."""
PORTS = range(1, 2**16)


def contract_overrides(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings with those of the contract's platform, where the configuration sets nothing."""
    service = settings.service
    if service.contract == "barometer":
        return settings
    platform = {"host": "0.0.0.0", "auth": "platform"}  # noqa: S104 - the platform reaches the container from outside
    platform |= {"sagemaker": _sagemaker, "vertex": _vertex, "azure": _azure}[service.contract](environ)
    changes = {key: value for key, value in platform.items() if key not in service.model_fields_set}
    return settings.model_copy(update={"service": service.model_copy(update=changes)})


def vertex_paths(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the paths for health and prediction that Vertex AI asks for."""
    paths = {name: environ.get(name, default) for name, default in VERTEX_PATHS.items()}
    for name, path in paths.items():
        if not path.startswith("/") or set("{}?# ") & set(path):
            raise _wrong(name, path, "a path such as /predict")
    health, predict = paths.values()
    return health, predict


VERTEX_PATHS = {"AIP_HEALTH_ROUTE": "/health", "AIP_PREDICT_ROUTE": "/predict"}


def _sagemaker(environ: Mapping[str, str]) -> dict[str, Any]:
    megabytes = _whole(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 6, range(MOST_MEGABYTES + 1))
    return {
        "port": _whole(environ, "SAGEMAKER_BIND_TO_PORT", 8080, PORTS),
        "model_folder": "/opt/ml/model",
        "body_bytes": (megabytes or MOST_MEGABYTES) * MEGABYTE,  # 0 means any size
        "request_seconds": 600 if environ.get("SAGEMAKER_BATCH", "").lower() == "true" else 60,
    }


def _vertex(environ: Mapping[str, str]) -> dict[str, Any]:
    return {"port": _whole(environ, "AIP_HTTP_PORT", 8080, PORTS)} | _folder(environ, "AIP_STORAGE_URI")


def _azure(environ: Mapping[str, str]) -> dict[str, Any]:
    return {"port": 5001} | _folder(environ, "AZUREML_MODEL_DIR")


def _folder(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    return {"model_folder": environ[name]} if environ.get(name) else {}


def _whole(environ: Mapping[str, str], name: str, default: int, among: range) -> int:
    text = environ.get(name, str(default))
    if not (re.fullmatch("[0-9]{1,9}", text) and int(text) in among):
        raise _wrong(name, text, f"a whole number from {among[0]} to {among[-1]}")
    return int(text)


def _wrong(name: str, text: str, expected: str) -> ConfigError:
    found, do = f"The environment variable {name} is {text[:80]!r}.", f"set {name} to such a value, or unset it."
    return ConfigError(found, f"{expected}, as the platform sets it.", do)
