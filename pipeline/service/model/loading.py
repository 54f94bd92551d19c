"""Loading: the versions in charge are checked, tried on a few rows, and put together as a `Serving`.

Stands between `sources`, which says what is in charge, and `current`, which puts it into service. A challenger that
cannot be served is left out, and the reason is told. The entry point is `load`.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from pydantic import ValidationError

from pipeline.errors import BarometerError, ModelError
from pipeline.models.bundle import Bundle, Feature, open_bundle
from pipeline.models.profile import PROFILE_FILE, Profile
from pipeline.models.scorer import Scorer
from pipeline.service.instances.signature import Values
from pipeline.service.model.in_charge import Candidate, InCharge
from pipeline.service.model.serving import Loaded, Serving, inputs_of
from pipeline.settings.model import Routing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InService:
    """What was loaded, and what of it was in charge."""

    serving: Serving
    of: InCharge
    """Without a challenger where that was left out."""
    challenger_error: BarometerError | None
    """Why it was."""

    @property
    def in_words(self) -> str:
        """The versions, for the log."""
        beside = f", beside it version {self.of.challenger.version}" if self.of.challenger else ""
        return f"version {self.of.champion.version} of the model {self.of.name!r}{beside}"


def load(found: InCharge, routing: Routing, before: InService | None) -> InService:
    """Return the versions in charge, ready to serve.

    Parameters
    ----------
    found
        What is in charge.
    routing
        The part of the challenger.
    before
        What is served now; a version of it that stays is not loaded again.

    Raises
    ------
    ModelError
        If the champion's files are not what was sealed, its signature is not that of its bundle, or it cannot score.
    """
    champion = _loaded(found.champion, found.threshold, before)
    _try(champion, champion.bundle.features)
    challenger, error = None, found.challenger_error
    if found.challenger:
        try:
            challenger = _challenger(found.challenger, found.threshold, champion, before)
        except BarometerError as its_error:
            error = its_error
    of = InCharge(found.name, found.threshold, found.champion, found.challenger if challenger else None)
    if before and before.of == of:
        return InService(before.serving, of, error)
    serving = Serving(found.name, champion, challenger, routing, datetime.now(UTC))
    assert serving.signature is not None  # made now, not by the first request
    return InService(serving, of, error)


def _loaded(candidate: Candidate, threshold: float, before: InService | None) -> Loaded:
    if before and before.of.threshold == threshold:
        for known in (before.serving.champion, before.serving.challenger):
            if known and (known.version, known.digest) == (candidate.version, candidate.digest):
                return known
    bundle = open_bundle(candidate.folder, candidate.digest)
    scorer = Scorer.load(candidate.folder, candidate.digest, threshold=threshold)
    return Loaded(candidate.version, scorer, bundle, candidate.digest, _profile(candidate, bundle))


def _profile(candidate: Candidate, bundle: Bundle) -> Profile | None:
    if PROFILE_FILE not in bundle.files:
        return None
    try:
        return Profile.model_validate_json(bundle.read(candidate.folder, PROFILE_FILE))
    except ValidationError as error:  # of another version of Barometer: no prediction needs it
        log.warning("The training profile of version %s has another form: %s", candidate.version, error.errors()[0])
        return None


def _challenger(candidate: Candidate, threshold: float, champion: Loaded, before: InService | None) -> Loaded:
    challenger = _loaded(candidate, threshold, before)
    known = {(feature.name, feature.kind) for feature in champion.bundle.features}
    if unknown := [each.name for each in challenger.bundle.features if (each.name, each.kind) not in known]:
        raise ModelError(
            f"The challenger, version {challenger.version}, needs features that the champion, version"
            f" {champion.version}, does not have: {', '.join(unknown)}.",
            "features of the champion's signature, since a request holds those.",
            "take it out: barometer rollback --challenger; or promote it.",
        )
    _try(challenger, champion.bundle.features)
    return challenger


def _try(loaded: Loaded, features: list[Feature]) -> None:
    """Score a few rows, which also makes the first request as quick as the others."""
    rows = [_missing(features), _usual(features), _unseen(features)]
    for some in (rows, rows[:1]):
        satisfaction = loaded.scorer.satisfaction(inputs_of(some, features))
        if not np.all((satisfaction >= 0) & (satisfaction <= 1)):
            raise ModelError(
                f"Version {loaded.version} gives the satisfaction {satisfaction.tolist()}.",
                "numbers from 0 to 1.",
                "use another version; train a new one: barometer train.",
            )


def _missing(features: list[Feature]) -> Values:
    return (None,) * len(features)


def _usual(features: list[Feature]) -> Values:
    return tuple(0.0 if each.kind == "number" else next(iter(each.categories), None) for each in features)


def _unseen(features: list[Feature]) -> Values:
    return tuple(-1.0 if each.kind == "number" else "never seen" for each in features)
