"""The errors of Barometer, as one tree.

::

    BarometerError
    ├── TerminalError              a retry does not help
    │   ├── ConfigError            pipeline.toml, an environment variable, a command's argument
    │   ├── WeekError              a week that is malformed, incomplete or has no data
    │   ├── SourceError            a source that is absent, unreadable or not as declared
    │   ├── FeatureError           features.sql or labels.sql fails or breaks its contract
    │   ├── BudgetError            more rejects or quarantined subjects than the error budget
    │   ├── ExpectationError       a critical expectation on a table failed
    │   ├── ModelError             no model version for the week, or one that fails its checks
    │   ├── ConservationError      a subject or row is lost or repeated, or a stored file has changed
    │   ├── WarehouseError         the warehouse's schema cannot be upgraded to this version's
    │   ├── ServerError            the embedded server or a local service cannot run as configured
    │   ├── RunError               a DAG run failed
    │   └── RequestError           a request to the service is invalid
    └── TransientError             the same call may succeed later
        └── DatabaseUnavailableError

The branch alone decides about a retry. Airflow retries a `TransientError` and any error outside this tree (a bug, a
killed process), but never a `TerminalError`.
"""

import re
from collections.abc import Mapping


class BarometerError(Exception):
    """An error that a person can act on.

    Its parts are what was found (with the name of the source, file, line, column or week), what was expected, and what
    to do next.
    """

    def __init__(self, found: str, expected: str, do: str) -> None:
        self.found, self.expected, self.do = map(_one_line, (found, expected, do))
        super().__init__(self.found, self.expected, self.do)

    def __str__(self) -> str:
        """Return the three parts as one paragraph."""
        return f"{self.found} Expected: {self.expected} What to do: {self.do}"


def _one_line(text: str) -> str:
    """Replace line breaks and control characters, which a quoted library or bad data may contain, by spaces."""
    return re.sub(r" \.$", ".", re.sub(r"\s*[\x00-\x1f\x7f-\x9f\u2028\u2029]+\s*", " ", text))


class TerminalError(BarometerError):
    """A retry does not help."""


class ConfigError(TerminalError):
    """pipeline.toml, an environment variable or a command's argument is wrong."""


class WeekError(TerminalError):
    """A week is malformed, not yet complete, or has no data."""


class SourceError(TerminalError):
    """A source is absent, unreadable or not as declared."""


class FeatureError(TerminalError):
    """features.sql or labels.sql fails or breaks its contract."""


class BudgetError(TerminalError):
    """More rejects or quarantined subjects than the error budget allows."""


class ExpectationError(TerminalError):
    """A critical expectation on a table failed."""


class ModelError(TerminalError):
    """There is no model version for the week, or it fails its checks."""


class ConservationError(TerminalError):
    """A subject or row is lost or repeated, or a stored file has changed since it was written."""


class WarehouseError(TerminalError):
    """The warehouse's schema cannot be upgraded to this version's."""


class ServerError(TerminalError):
    """The embedded server or a local service cannot run as configured."""


class RunError(TerminalError):
    """A DAG run failed, with the reason that its stage gave, if it gave one."""


class RequestError(TerminalError):
    """A request to the service is invalid.

    `status` is the HTTP status, `row` and `field` the instance (from 0) and the feature at fault, `headers` further
    headers of the response, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        found: str,
        expected: str,
        do: str,
        *,
        row: int | None = None,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(found, expected, do)
        self.args = (status, *self.args)  # for pickling, which restores the rest from __dict__
        self.status, self.row, self.field, self.headers = status, row, field, dict(headers or {})


class TransientError(BarometerError):
    """The same call may succeed later."""


class DatabaseUnavailableError(TransientError):
    """The database does not answer."""
