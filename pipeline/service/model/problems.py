"""What is wrong with the current model, since when: noted by `current`, told by its readiness.

The entry point is `Problems`.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from pipeline.errors import BarometerError, DatabaseUnavailableError

OVERDUE = timedelta(seconds=30)
"""A look at the registry that takes longer counts as unanswered."""

What = Literal["registry", "champion", "challenger", "copy"]
"""registry: it cannot be asked; champion: there is none that may be served; challenger: it is left out; copy: what is
served is not, or cannot be, copied to this machine."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    since: datetime
    error: BarometerError

    def facts(self) -> dict[str, str]:
        """Return it for a person, or a script."""
        return {"since": self.since.isoformat(), "error": self.error.found}


class Problems:
    """What is wrong now; may be asked by any thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._standing: Mapping[What, Problem] = MappingProxyType({})
        self._answered_since: datetime | None = None
        self.looking_since: datetime | None = None
        """When the look at the registry began that goes on now."""

    def note(self, what: What, error: Exception | None) -> None:
        """Remember that something is wrong, or no longer; while it stays wrong it keeps its date."""
        with self._turn:
            known = self._standing.get(what)
            others = {name: problem for name, problem in self._standing.items() if name != what}
            problem = _problem(error, known) if error else None
            self._standing = MappingProxyType({**others, what: problem} if problem else others)
            if what == "registry":
                self._answered_since = None if problem else self._answered_since or datetime.now(UTC)
        if problem and (known is None or known.error.found != problem.error.found):
            log.warning("The %s: %s", what, problem.error, exc_info=None if problem.error is error else error)
        elif known and problem is None:
            log.info("The %s is all right again", what)

    def standing(self) -> Mapping[What, Problem]:
        """Return what is wrong, a look at the registry that takes too long among it."""
        standing, since = self._standing, self.looking_since
        if since is None or "registry" in standing or datetime.now(UTC) - since < OVERDUE:
            return standing
        return {**standing, "registry": Problem(since, _overdue())}

    def registry(self) -> dict[str, Any]:
        """Return the state of the registry (`ok`, `away`, `not asked yet`), since when, and what its error is."""
        if problem := self.standing().get("registry"):
            return {"state": "away", **problem.facts()}
        since = self._answered_since
        if since is None:
            return {"state": "not asked yet", "since": None, "error": None}
        return {"state": "ok", "since": since.isoformat(), "error": None}


def _problem(error: Exception, known: Problem | None) -> Problem:
    return Problem(
        known.since if known else datetime.now(UTC), error if isinstance(error, BarometerError) else _unexpected(error)
    )


def _unexpected(error: Exception) -> BarometerError:
    return BarometerError(f"{type(error).__name__}: {error}.", "an answer.", "look into the service's log.")


def _overdue() -> BarometerError:
    return DatabaseUnavailableError(
        f"The registry has not answered for more than {OVERDUE.seconds} seconds.",
        "an answer.",
        "see that the database's server runs (barometer status).",
    )
