"""The table `[service]` of `pipeline.toml`: where the service listens, which contract it serves, and its limits."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.settings.base import Table

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
Contract = Literal["barometer", "sagemaker", "vertex", "azure"]
AccessScope = Literal["predict", "batch", "admin"]
"""What an API key may do: predict, have files scored, or everything."""


def is_plain_prefix(uri: str) -> str:
    """Return the prefix, or refuse one that two parsers could understand differently."""
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s?#@\\]+", uri) or {".", ".."} & set(uri.split("/")):
        raise ValueError(f"{uri!r} is not a plain prefix; use scheme://place/path, without user, query, `.` or `..`")
    return uri


class Service(Table):
    """The service."""

    host: str = "127.0.0.1"
    port: PositiveInt = Field(default=8000, le=65_535)
    contract: Contract = "barometer"
    """Which routes are served: our own with MLflow's and the Open Inference Protocol's, or those of one cloud."""
    auth: Literal["keys", "platform"] | None = None
    """Who authenticates clients: our own API keys or the cloud's gateway. Required beyond loopback."""
    keys_file: str = "{home}/service/keys.json"
    model_folder: str | None = None
    """A folder made by `barometer models export`, or its URI. With it, no registry, warehouse or Airflow is used."""
    refresh_seconds: PositiveFloat = Field(default=10, le=25)
    """How often the registry's aliases are checked. A new version serves within 30 s of its promotion."""
    body_bytes: PositiveInt = 6_000_000
    rows: PositiveInt = 20_000
    """Largest number of rows in a request. SageMaker's contract has its own limit."""
    request_seconds: PositiveFloat = 30
    concurrent_requests: PositiveInt = 256
    """Further requests get 503 with Retry-After."""
    record_rows: NonNegativeInt = 100_000
    """Largest number of predictions waiting to be written to `online_predictions`; 0 records none."""
    upload_bytes: PositiveInt = 2_000_000_000
    """Largest file for a batch prediction."""
    file_sources: tuple[Annotated[str, AfterValidator(is_plain_prefix)], ...] = ()
    """URI prefixes that a batch prediction may read from; none when empty."""
    results_days: PositiveFloat = 7
    """How long a batch prediction's results are kept."""

    @property
    def url(self) -> str:
        """The service's address on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - names what it listens on
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
