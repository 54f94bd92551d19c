"""Everything that can go wrong, as one tree.

::

    BarometerError
    ├── TerminalError              a retry cannot mend it
    │   ├── ConfigError            pipeline.toml, an environment variable, a command's argument
    │   ├── WeekError              a week that is malformed, incomplete or has no data
    │   ├── SourceError            a source that is absent, unreadable or not as declared
    │   ├── FeatureError           features.sql or labels.sql fails or breaks its contract
    │   ├── BudgetError            more rejects or quarantined subjects than the error budget
    │   ├── ExpectationError       a critical expectation on a table failed
    │   ├── ModelError             no model in force, or one that fails its checks
    │   ├── ConservationError      subjects are not conserved, or a stored file is not what was written
    │   ├── WarehouseError         the warehouse's schema is not one this version can bring up to date
    │   ├── ServerError            the embedded server or a local service cannot be run as asked
    │   ├── RunError               a DAG run failed
    │   └── RequestError           a request to the service that cannot be answered as it was sent
    └── TransientError             the same call may succeed later
        └── DatabaseUnavailableError

The branch alone decides a retry: Airflow retries a `TransientError` and whatever is not in this tree (a bug, a
killed process), never a `TerminalError`.
"""

import re


class BarometerError(Exception):
    """An error a person can act on: what was found, what was expected, what to do.

    Parameters
    ----------
    found
        What was met, with the name of the thing (source, file, line, column, week).
    expected
        What would have been right.
    do
        The next step for the person who reads it.
    """

    def __init__(self, found: str, expected: str, do: str) -> None:
        self.found, self.expected, self.do = map(_one_line, (found, expected, do))
        super().__init__(self.found, self.expected, self.do)

    def __str__(self) -> str:
        """Return the three parts as one paragraph."""
        return f"{self.found} Expected: {self.expected} What to do: {self.do}"


def _one_line(text: str) -> str:
    """Return the text without what would break its line, or drive a terminal: it may quote a library, or bad data."""
    return re.sub(r" \.$", ".", re.sub(r"\s*[\x00-\x1f\x7f-\x9f\u2028\u2029]+\s*", " ", text))


class TerminalError(BarometerError):
    """A retry cannot mend it."""


class ConfigError(TerminalError):
    """pipeline.toml, an environment variable or a command's argument is wrong."""


class WeekError(TerminalError):
    """A week that is malformed, not complete yet, or has no data."""


class SourceError(TerminalError):
    """A source is absent, unreadable or not as declared."""


class FeatureError(TerminalError):
    """features.sql or labels.sql fails or breaks its contract."""


class BudgetError(TerminalError):
    """More rejects or quarantined subjects than the error budget allows."""


class ExpectationError(TerminalError):
    """A critical expectation on a table failed."""


class ModelError(TerminalError):
    """No model version is in force, or it fails its checks."""


class ConservationError(TerminalError):
    """Subjects are not conserved, or a stored file is not what was written."""


class WarehouseError(TerminalError):
    """The warehouse's schema is not one that this version can bring up to date."""


class ServerError(TerminalError):
    """The embedded server or a local service cannot be run as asked."""


class RunError(TerminalError):
    """A DAG run failed, for the reason its stage gave or for one that none could give."""


class RequestError(TerminalError):
    """A request to the service that cannot be answered as it was sent.

    Parameters
    ----------
    status
        HTTP status.
    row, field
        What is at fault in the request: the number of the instance, from 0, and the feature.
    headers
        Further headers of the answer, such as Retry-After.
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
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(found, expected, do)
        self.args = (status, *self.args)  # by which it is pickled; the rest is in its __dict__
        self.status, self.row, self.field, self.headers = status, row, field, headers


class TransientError(BarometerError):
    """The same call may succeed later."""


class DatabaseUnavailableError(TransientError):
    """The database does not answer."""
