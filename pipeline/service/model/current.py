"""The current model: the versions in charge, watched, loaded when they change, and swapped as a whole.

A request takes `serving` once and keeps it to its end, so that a swap drops none and none sees half a model. Whatever
goes wrong (the registry is away, a new version fails its checks, the champion was withdrawn), what was served last is
served on, after a restart from the local copy, and `readiness` says since when and why. The entry point is `Current`.
"""

import logging
import math
import threading
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import ModelError, RequestError
from pipeline.service.model.in_charge import InCharge
from pipeline.service.model.loading import InService, load
from pipeline.service.model.origins import source_of
from pipeline.service.model.problems import Problems
from pipeline.service.model.serving import Serving
from pipeline.settings import Settings

FIRST_LOOK_SECONDS = 5
"""So long the start waits for the registry before it takes the local copy."""
STOP_SECONDS = 5
NOT_USED = {"state": "not used", "since": None, "error": None}
"""Of the registry, where a folder says which version is in charge."""

log = logging.getLogger(__name__)


class Current:
    """The versions in charge.

    Parameters
    ----------
    settings
        The settings.

    Raises
    ------
    ConfigError
        If `service.model_folder` names a variable that is not set.
    """

    def __init__(self, settings: Settings) -> None:
        self._routing = settings.routing
        self._refresh_seconds = settings.service.refresh_seconds
        self._source = source_of(settings)
        self._in_service: InService | None = None
        self._is_from_copy = False
        self._problems = Problems()
        self._look_turn = threading.Lock()
        self._swap_turn = threading.Lock()
        self._looked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="current model", daemon=True)

    @property
    def serving(self) -> Serving:
        """The versions that serve now.

        Raises
        ------
        RequestError
            If there are none, with status 503.
        """
        in_service = self._in_service
        if in_service is None:
            raise self._unavailable()
        return in_service.serving

    def start(self) -> None:
        """Load the versions in charge, from the local copy if the registry does not answer, and watch from now on."""
        self._thread.start()
        if not self._looked.wait(FIRST_LOOK_SECONDS):
            self._serve_copy()

    def stop(self) -> None:
        """Watch no longer; what serves serves on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def refresh(self) -> None:
        """Look now which versions are in charge, and serve them if they changed; errors are told by `readiness`."""
        with self._look_turn:
            self._problems.looking_since = datetime.now(UTC)
            try:
                found = self._source.look()
            except ModelError as error:  # an answer, but no version that may be served
                self._problems.note("registry", None)
                self._problems.note("champion", error)
            except Exception as error:  # noqa: BLE001 - whatever it is, what serves must serve on
                self._problems.note("registry" if self._source.is_registry else "champion", error)
            else:
                self._problems.note("registry", None)
                self._serve(found)
            self._problems.looking_since = None
            if self._in_service is None:
                self._serve_copy()
            self._looked.set()

    def readiness(self) -> dict[str, Any]:
        """Return whether predictions are answered, by which versions, and what is wrong.

        Returns
        -------
        dict
            status (`ready`, `degraded`, `not ready`); champion and challenger (versions); routing (its mode); since
            (when these came into service); loaded_from (`registry`, `folder`, `local copy`); registry (state, since,
            error); problems (each: what, since, error).
        """
        in_service, problems = self._in_service, self._problems.standing()
        serving = in_service.serving if in_service else None
        return {
            "status": "not ready" if serving is None else "degraded" if problems else "ready",
            "champion": serving.champion.version if serving else None,
            "challenger": serving.challenger.version if serving and serving.challenger else None,
            "routing": self._routing.mode,
            "since": serving.since.isoformat() if serving else None,
            "loaded_from": self._loaded_from() if serving else None,
            "registry": self._problems.registry() if self._source.is_registry else NOT_USED,
            "problems": [{"what": what, **problem.facts()} for what, problem in problems.items()],
        }

    def _watch(self) -> None:
        """Look again and again; at a folder only until it could be loaded."""
        self.refresh()
        while self._source.is_registry or self._problems.standing():
            if self._stopping.wait(self._refresh_seconds):
                return
            self.refresh()

    def _serve(self, found: InCharge) -> None:
        """Serve these versions if they pass their checks, and keep a copy of them."""
        try:
            new = load(found, self._routing, self._in_service)
        except Exception as error:  # noqa: BLE001 - as above
            self._problems.note("champion", error)
            return
        self._swap(new)
        self._problems.note("champion", None)
        self._problems.note("challenger", new.challenger_error)
        try:
            self._source.save(new.of)
        except Exception as error:  # noqa: BLE001 - as above
            self._problems.note("copy", error)
        else:
            self._problems.note("copy", None)

    def _swap(self, new: InService) -> None:
        """Put versions into service: one assignment, so that a request gets the old ones or the new ones."""
        with self._swap_turn:
            before, self._in_service = self._in_service, new
            self._is_from_copy = False
        if before is None or before.serving is not new.serving:
            log.info("Serving %s", new.in_words)

    def _serve_copy(self) -> None:
        """Serve what was served last, unless something is served meanwhile."""
        try:
            saved = self._source.saved()
            new = load(saved, self._routing, None) if saved else None
        except Exception as error:  # noqa: BLE001 - as above
            self._problems.note("copy", error)
            return
        with self._swap_turn:
            if new is None or self._in_service is not None:
                return
            self._in_service, self._is_from_copy = new, True
        log.warning("Serving %s from the local copy", new.in_words)
        self._problems.note("copy", None)
        self._problems.note("challenger", new.challenger_error)

    def _loaded_from(self) -> str:
        if self._is_from_copy:
            return "local copy"
        return "registry" if self._source.is_registry else "folder"

    def _unavailable(self) -> RequestError:
        errors = [problem.error for problem in self._problems.standing().values()]
        return RequestError(
            503,
            " ".join(["No model version is served.", *(error.found for error in errors)]),
            "a champion that passes its checks.",
            " ".join([error.do for error in errors] or ["try again in a moment: it is being loaded."]),
            headers={"retry-after": str(math.ceil(self._refresh_seconds))},
        )
