"""Loading: the versions in charge are checked, tried on a few rows, and put together as a `Serving`.

`origins` names the versions, and `current` puts the result into service. A challenger that cannot be served is left
out, and the reason is returned. The entry point is `load`.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from pydantic import ValidationError

from pipeline.errors import BarometerError, ModelError
from pipeline.models.bundle import Feature, open_bundle
from pipeline.models.profile import PROFILE_FILE, Profile
from pipeline.models.scorer import Scorer
from pipeline.service.instances.signature import Values
from pipeline.service.model.copies import Candidate, InCharge
from pipeline.service.model.serving import Loaded, Serving, inputs_of
from pipeline.settings.model import Routing

log = logging.getLogger(__name__)


def load(found: InCharge, routing: Routing, before: Serving | None) -> tuple[Serving, BarometerError | None]:
    """Return the versions in charge, ready to serve, and why the challenger is left out, if it is.

    Parameters
    ----------
    found
        The versions in charge.
    routing
        The part of the challenger.
    before
        What is served now. Its versions are not loaded again; it is returned itself if nothing has changed.

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
            challenger = _challenger(found.challenger, champion, before)
        except BarometerError as its_error:
            error = its_error
    if before and before.name == found.name and before.champion is champion and before.challenger is challenger:
        return before, error
    serving = Serving(found.name, champion, challenger, routing, datetime.now(UTC))
    assert serving.signature is not None  # made now, not by the first request
    return serving, error


def _loaded(candidate: Candidate, threshold: float, before: Serving | None) -> Loaded:
    wanted = (candidate.version, candidate.digest, threshold)
    for known in (before.champion, before.challenger) if before else ():
        if known and (known.version, known.digest, known.scorer.threshold) == wanted:
            return known
    bundle, profile = open_bundle(candidate.folder, candidate.digest), None
    scorer = Scorer.load(candidate.folder, candidate.digest, threshold=threshold)
    try:
        if PROFILE_FILE in bundle.files:
            profile = Profile.model_validate_json(bundle.read(candidate.folder, PROFILE_FILE))
    except ValidationError as error:  # of another version of Barometer: no prediction needs it
        log.warning("The training profile of version %s has another form: %s", candidate.version, error.errors()[0])
    return Loaded(candidate.version, scorer, bundle, candidate.digest, profile)


def _challenger(candidate: Candidate, champion: Loaded, before: Serving | None) -> Loaded:
    challenger = _loaded(candidate, champion.scorer.threshold, before)
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


def _try(loaded: Loaded, features: Sequence[Feature]) -> None:
    """Score a few rows, which also makes the first request as quick as the others."""
    missing: Values = (None,) * len(features)
    usual = tuple(0.0 if each.kind == "number" else next(iter(each.categories), None) for each in features)
    unseen = tuple(-1.0 if each.kind == "number" else "never seen" for each in features)
    for rows in ([missing, usual, unseen], [missing]):
        satisfaction = loaded.scorer.satisfaction(inputs_of(rows, features))
        if not np.all((satisfaction >= 0) & (satisfaction <= 1)):
            raise ModelError(
                f"Version {loaded.version} gives the satisfaction {satisfaction.tolist()}.",
                "numbers from 0 to 1.",
                "use another version; train a new one: barometer train.",
            )
