"""The current model: the versions in charge, watched, loaded when they change, and swapped as a whole.

A request takes `serving` once and keeps it to its end, so a swap drops no request and no request sees half a model.
When something fails (the registry is away, a new version fails its checks, the champion was withdrawn), the versions
served last are served on, after a restart from the local copy. `readiness` says since when and why. The entry point is
`Current`.
"""

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pipeline.errors import BarometerError, DatabaseUnavailableError, ModelError, RequestError
from pipeline.service.model.copies import InCharge
from pipeline.service.model.origins import origin_of
from pipeline.service.model.serving import Serving, load
from pipeline.settings import Settings

FIRST_LOOK_SECONDS = 5
"""The start waits for the registry this long, then takes the local copy."""
STOP_SECONDS = 5
OVERDUE = timedelta(seconds=30)
"""If a look at the registry takes longer, the registry counts as away."""

What = Literal["registry", "champion", "challenger", "copy"]
"""registry: it does not answer. champion: there is none that may be served. challenger: it is left out. copy: the local
copy cannot be written, or not be read."""

log = logging.getLogger(__name__)


class Current:
    """The versions in charge; raises ConfigError if `service.model_folder` names a variable that is not set."""

    def __init__(self, settings: Settings) -> None:
        self._routing = settings.routing
        self._refresh_seconds = settings.service.refresh_seconds
        self._origin = origin_of(settings)
        self._serving: Serving | None = None
        self._is_from_copy = False
        self.problems = Problems()
        self._look_turn = threading.Lock()
        self._swap_turn = threading.Lock()
        self._looked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="current model", daemon=True)

    @property
    def serving(self) -> Serving:
        """The versions that serve now; raises a `RequestError` 503 if there are none."""
        if self._serving is None:
            raise self._unavailable()
        return self._serving

    def start(self) -> None:
        """Load the versions in charge, from the local copy if the registry does not answer, and begin to watch."""
        self._thread.start()
        if not self._looked.wait(FIRST_LOOK_SECONDS):
            self._serve_copy()

    def stop(self) -> None:
        """Stop watching. The versions that serve go on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def refresh(self) -> None:
        """Look which versions are in charge, and serve them if they changed. Errors are noted for `readiness`."""
        with self._look_turn:
            self.problems.looking_since = datetime.now(UTC)
            try:
                found = self._origin.look()
            except ModelError as error:  # the registry answered, but has no version that may be served
                self.problems.note("registry", None)
                self.problems.note("champion", error)
            except Exception as error:  # noqa: BLE001 - after any failure the versions that serve go on
                self.problems.note("registry" if self._origin.is_registry else "champion", error)
            else:
                self.problems.note("registry", None)
                self._serve(found)
            self.problems.looking_since = None
            if self._serving is None:
                self._serve_copy()
            self._looked.set()

    def readiness(self) -> dict[str, Any]:
        """Return whether predictions are answered, by which versions, and what is wrong.

        Returns
        -------
        dict
            status (`ready`, `degraded`, `not ready`); champion and challenger (versions); routing (its mode); since
            (when these came into service); loaded_from (`registry`, `folder`, `local copy`); problems (each: what,
            since, error).
        """
        serving, problems = self._serving, self.problems.now()
        origin = "local copy" if self._is_from_copy else "registry" if self._origin.is_registry else "folder"
        return {
            "status": "not ready" if serving is None else "degraded" if problems else "ready",
            "champion": serving and serving.champion.version,
            "challenger": serving and serving.challenger and serving.challenger.version,
            "routing": self._routing.mode,
            "since": serving and serving.since.isoformat(),
            "loaded_from": serving and origin,
            "problems": [
                {"what": what, "since": problem.since.isoformat(), "error": problem.error.found}
                for what, problem in problems.items()
            ],
        }

    def _watch(self) -> None:
        """Look again and again; at a folder only until it could be loaded."""
        self.refresh()
        while self._origin.is_registry or self.problems.now():
            if self._stopping.wait(self._refresh_seconds):
                return
            self.refresh()

    def _serve(self, found: InCharge) -> None:
        """Serve these versions if they pass their checks, and keep a copy of them."""
        with self.problems.noting("champion"):
            new, challenger_error = load(found, self._routing, self._serving)
            with self._swap_turn:  # one assignment, so that a request gets the old versions or the new ones
                before, self._serving, self._is_from_copy = self._serving, new, False
            if before is not new:
                log.info("Serving %s", new)
            self.problems.note("challenger", challenger_error)
            with self.problems.noting("copy"):
                self._origin.save(found if new.challenger else replace(found, challenger=None))

    def _serve_copy(self) -> None:
        """Serve what was served last, unless other versions came into service meanwhile."""
        with self.problems.noting("copy"):
            saved = self._origin.saved()
            if saved is None:
                return
            new, challenger_error = load(saved, self._routing, None)
            with self._swap_turn:
                if self._serving is not None:
                    return
                self._serving, self._is_from_copy = new, True
            log.warning("Serving %s from the local copy", new)
            self.problems.note("challenger", challenger_error)

    def _unavailable(self) -> RequestError:
        errors = [problem.error for problem in self.problems.now().values()]
        found = " ".join(["No model version is served.", *(error.found for error in errors)])
        do = " ".join([error.do for error in errors] or ["try again in a moment: it is being loaded."])
        retry = {"retry-after": str(math.ceil(self._refresh_seconds))}
        return RequestError(503, found, "a champion that passes its checks.", do, headers=retry)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    since: datetime
    error: BarometerError


class Problems:
    """What is wrong now; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[What, Problem] = {}
        self.looking_since: datetime | None = None
        """When the present look at the registry began."""

    def note(self, what: What, error: Exception | None) -> None:
        """Note an error, or that there is none any more. A problem that lasts keeps its date."""
        with self._lock:
            known = self._noted.get(what)
            problem = Problem(known.since if known else datetime.now(UTC), _as_ours(error)) if error else None
            others = {name: other for name, other in self._noted.items() if name != what}
            self._noted = {**others, what: problem} if problem else others
        if problem and (known is None or known.error.found != problem.error.found):
            log.warning("The %s: %s", what, problem.error, exc_info=None if problem.error is error else error)
        elif known and problem is None:
            log.info("The %s is all right again", what)

    @contextmanager
    def noting(self, what: What) -> Iterator[None]:
        """Note the error that the block raises, which goes no further, or that there is none any more."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - after any failure the versions that serve go on
            self.note(what, error)
        else:
            self.note(what, None)

    def now(self) -> dict[What, Problem]:
        """Return what is wrong, an overdue look at the registry included."""
        since = self.looking_since
        if since is None or "registry" in self._noted or datetime.now(UTC) - since < OVERDUE:
            return self._noted
        found = f"The registry has not answered for more than {OVERDUE.seconds} seconds."
        do = "see that the database's server runs (barometer status)."
        overdue = DatabaseUnavailableError(found, "an answer.", do)
        return {**self._noted, "registry": Problem(since, overdue)}


def _as_ours(error: Exception) -> BarometerError:
    if isinstance(error, BarometerError):
        return error
    return BarometerError(f"{type(error).__name__}: {error}.", "an answer.", "look into the service's log.")
