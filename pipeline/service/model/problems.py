"""What is wrong with the model in charge, and since when. `current` notes it and reports it in its readiness.

The entry point is `Problems`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Literal

from pipeline.errors import BarometerError, DatabaseUnavailableError

OVERDUE = timedelta(seconds=30)
"""If a look at the registry takes longer, the registry counts as away."""

What = Literal["registry", "champion", "challenger", "copy"]
"""registry: it does not answer. champion: there is none that may be served. challenger: it is left out. copy: the local
copy cannot be written, or not be read."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    since: datetime
    error: BarometerError

    def facts(self) -> dict[str, str]:
        """Return it for JSON."""
        return {"since": self.since.isoformat(), "error": self.error.found}


class Problems:
    """What is wrong now; for any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._noted: dict[What, Problem] = {}
        self._answered_since: datetime | None = None
        self.looking_since: datetime | None = None
        """When the present look at the registry began."""

    def note(self, what: What, error: Exception | None) -> None:
        """Note an error, or that there is none any more. A problem that lasts keeps its date."""
        with self._lock:
            known, now = self._noted.get(what), datetime.now(UTC)
            problem = Problem(known.since if known else now, _as_ours(error)) if error else None
            others = {name: other for name, other in self._noted.items() if name != what}
            self._noted = {**others, what: problem} if problem else others
            if what == "registry":
                self._answered_since = None if problem else self._answered_since or now
        if problem and (known is None or known.error.found != problem.error.found):
            log.warning("The %s: %s", what, problem.error, exc_info=None if problem.error is error else error)
        elif known and problem is None:
            log.info("The %s is all right again", what)

    @contextmanager
    def noting(self, what: What) -> Iterator[None]:
        """Note the error that the block raises, which goes no further, or that there is none any more."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever fails, the versions that serve go on
            self.note(what, error)
        else:
            self.note(what, None)

    def now(self) -> dict[What, Problem]:
        """Return what is wrong, an overdue look at the registry included."""
        since = self.looking_since
        if since is None or "registry" in self._noted or datetime.now(UTC) - since < OVERDUE:
            return self._noted
        overdue = DatabaseUnavailableError(
            f"The registry has not answered for more than {OVERDUE.seconds} seconds.",
            "an answer.",
            "see that the database's server runs (barometer status).",
        )
        return {**self._noted, "registry": Problem(since, overdue)}

    def registry(self) -> dict[str, Any]:
        """Return the registry's state (`ok`, `away`, `not asked yet`), since when, and the error."""
        if problem := self.now().get("registry"):
            return {"state": "away", **problem.facts()}
        since = self._answered_since
        return {"state": "ok" if since else "not asked yet", "since": since and since.isoformat(), "error": None}


def _as_ours(error: Exception) -> BarometerError:
    if isinstance(error, BarometerError):
        return error
    return BarometerError(f"{type(error).__name__}: {error}.", "an answer.", "look into the service's log.")
