"""What a cloud's platform lays down for the containers that it runs: port, model folder, routes, limits.

It says so in its documentation or in environment variables; what the configuration says itself wins. Entry points:
`contract_overrides`, for whoever starts the service, and `vertex_paths`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.settings.service import Contract

Environment = Mapping[str, str]
Laid = dict[str, Any]
"""Keys of `[service]`."""
MEGABYTE = 2**20
MOST_MEGABYTES = 100
"""SageMaker's largest payload."""
PORTS = range(1, 2**16)


def contract_overrides(settings: Settings, environ: Environment) -> Settings:
    """Return the settings with what the contract's platform lays down, where they say nothing themselves.

    Parameters
    ----------
    settings
        As configured; keys of `[service]` that were given stay.
    environ
        The process's environment variables.

    Raises
    ------
    ConfigError
        If the platform's variables hold something else than they should.
    """
    laid = _LAID[settings.service.contract](environ)
    if laid:
        laid |= {"host": "0.0.0.0", "auth": "platform"}  # noqa: S104 - the platform reaches the container from outside
    changes = {key: value for key, value in laid.items() if key not in settings.service.model_fields_set}
    return settings.model_copy(update={"service": settings.service.model_copy(update=changes)})


def vertex_paths(environ: Environment) -> tuple[str, str]:
    """Return the paths for health and prediction that Vertex AI asks for.

    Raises
    ------
    ConfigError
        If they are no paths.
    """
    health, predict = environ.get("AIP_HEALTH_ROUTE", "/health"), environ.get("AIP_PREDICT_ROUTE", "/predict")
    for name, path in (("AIP_HEALTH_ROUTE", health), ("AIP_PREDICT_ROUTE", predict)):
        if not path.startswith("/") or set("{}?# ") & set(path):
            raise _wrong(name, path, "a path such as /predict")
    return health, predict


def _sagemaker(environ: Environment) -> Laid:
    megabytes = _whole(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 6, range(MOST_MEGABYTES + 1))
    return {
        "port": _whole(environ, "SAGEMAKER_BIND_TO_PORT", 8080, PORTS),
        "model_folder": "/opt/ml/model",
        "body_bytes": (megabytes or MOST_MEGABYTES) * MEGABYTE,  # 0 says any size
        "request_seconds": 600 if environ.get("SAGEMAKER_BATCH", "").lower() == "true" else 60,
    }


def _vertex(environ: Environment) -> Laid:
    laid: Laid = {"port": _whole(environ, "AIP_HTTP_PORT", 8080, PORTS)}
    folder = environ.get("AIP_STORAGE_URI")
    return laid | ({"model_folder": folder} if folder else {})


def _azure(environ: Environment) -> Laid:
    folder = environ.get("AZUREML_MODEL_DIR")
    return {"port": 5001} | ({"model_folder": folder} if folder else {})


def _whole(environ: Environment, name: str, default: int, among: range) -> int:
    text = environ.get(name, str(default))
    if not (re.fullmatch("[0-9]{1,9}", text) and int(text) in among):
        raise _wrong(name, text, f"a whole number from {among[0]} to {among[-1]}")
    return int(text)


def _wrong(name: str, text: str, expected: str) -> ConfigError:
    return ConfigError(
        f"The environment variable {name} is {text[:80]!r}.",
        f"{expected}, as the platform sets it.",
        f"unset {name}, or give it such a value.",
    )


_LAID: dict[Contract, Callable[[Environment], Laid]] = {
    "barometer": lambda _: {},
    "sagemaker": _sagemaker,
    "vertex": _vertex,
    "azure": _azure,
}
