"""The model versions of a run: chosen once by its first task, and used by every later one.

Used by the weekly run and by the scoring of a file of rows. Entry points: `Models`, `pinned`,
`todays_routing` and `with_challenger`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ModelError
from pipeline.handoff import Handoff
from pipeline.models.routing import blaming_challenger
from pipeline.settings import Settings
from pipeline.weeks import Week

if TYPE_CHECKING:
    from pipeline.models import registry  # scoring reads `Models` without the registry's libraries


class PinnedVersion(Handoff):
    """A model version that scores a run."""

    model_version: str
    trained_after_cutoff: bool
    """Whether the model saw data from after the cutoff of the week it scores."""
    bundle: Path
    """Folder of the version's files."""
    bundle_digest: str
    """sha256 of the folder's `bundle.json`, as the registry holds it."""


class Routing(Handoff):
    """The challenger's part in a run."""

    mode: Literal["off", "ab", "shadow"] = "off"
    """ab: it serves a fraction of the customers. shadow: it scores into `shadow_predictions`."""
    fraction: float = 0
    """In an A/B test, its share of the customers."""
    salt: str = ""
    challenger: PinnedVersion | None = None
    """The version beside the run's own, the champion; None if the mode is off."""
    reason: str = "routing is off"
    """Why this mode."""


class Models(PinnedVersion):
    """The model versions that score a run, decided once by its first task."""

    model_reason: str
    """Why this version."""
    routing: Routing = Routing()


def pinned(choice: "registry.ModelChoice", routing: Routing) -> dict[str, Any]:
    """Return the fields of `Models`."""
    return {**choice.model_dump(exclude={"is_current"}), "routing": routing}


def todays_routing(settings: Settings, week: Week, choice: "registry.ModelChoice") -> Routing:
    """Return today's routing; it is off unless today's champion was chosen."""
    from pipeline.models import registry

    if not choice.is_current:
        return Routing(reason="only today's champion has a challenger beside it")
    if settings.routing.mode == "off":
        return Routing()
    version = registry.challenger(settings)
    if version in {None, choice.model_version}:
        return Routing(reason=f"{settings.routing.mode} is configured, but there is no challenger beside the champion")
    return with_challenger(settings, week, version, Routing(**settings.routing.model_dump(), reason="as configured"))


def with_challenger(
    settings: Settings, week: Week, version: str, routing: Routing, recorded_digest: str | None = None
) -> Routing:
    """Return the routing with its challenger.

    Raises
    ------
    ModelError
        If the challenger of an A/B test cannot score. In shadow mode the run goes on without shadow scores.
    """
    from pipeline.models import registry

    try:
        with blaming_challenger(version):
            choice = registry.choose_model(settings, week=week, requested=version, published_version=None)
    except ModelError as error:
        if routing.mode == "ab":
            raise
        failure = error.found.rstrip(".")
        return Routing(reason=f"{routing.reason}, but nothing is scored in the shadow. {failure}")
    challenger = PinnedVersion(
        model_version=version,
        trained_after_cutoff=choice.trained_after_cutoff,
        bundle=choice.bundle,
        bundle_digest=recorded_digest or choice.bundle_digest,
    )
    return routing.model_copy(update={"challenger": challenger})
