"""The table `[service]` of `pipeline.toml`: where the sidecar listens, which contract it keeps, and its limits."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.settings.base import Table

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
Contract = Literal["barometer", "sagemaker", "vertex", "azure"]


def is_plain_prefix(uri: str) -> str:
    """Return a prefix of URIs, if two readers cannot understand it differently."""
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s?#@\\]+", uri) or {".", ".."} & set(uri.split("/")):
        raise ValueError(f"{uri!r} is no plain prefix; use scheme://place/path, without user, query, `.` or `..`")
    return uri


class Service(Table):
    """The sidecar."""

    host: str = "127.0.0.1"
    port: PositiveInt = Field(default=8000, le=65_535)
    contract: Contract = "barometer"
    """Whose routes are served: our own with MLflow's and the Open Inference Protocol's, or one cloud's."""
    auth: Literal["keys", "platform"] | None = None
    """Who authenticates: our own API keys or the cloud's gateway. Beyond loopback one of them must be chosen."""
    keys_file: str = "{home}/service/keys.json"
    model_folder: str | None = None
    """A folder of `barometer models export`, or its URI: then no registry, warehouse or Airflow is used."""
    refresh_seconds: PositiveFloat = Field(default=10, le=25)
    """How often it is looked whether an alias has moved; 30 s after it has, the new version serves."""
    body_bytes: PositiveInt = 6_000_000
    rows: PositiveInt = 20_000
    """Most rows in a request; SageMaker's have a bound of their own."""
    request_seconds: PositiveFloat = 30
    concurrent_requests: PositiveInt = 256
    """More at once are answered 503 with Retry-After."""
    record_rows: NonNegativeInt = 100_000
    """Answers that may wait to be written to `online_predictions`; 0 records none."""
    upload_bytes: PositiveInt = 2_000_000_000
    """Largest file of a batch prediction."""
    file_sources: tuple[Annotated[str, AfterValidator(is_plain_prefix)], ...] = ()
    """URI prefixes that a batch prediction may read from; none when empty."""
    results_days: PositiveFloat = 7
    """How long a batch prediction's results are kept."""

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - what is listened on
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
