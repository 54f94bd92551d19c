"""The model versions that serve, as one unchanging object that a request takes once and uses to its end.

`load` checks the versions that `origins` names, tries them on a few rows and puts them together. `current` replaces
them as a whole, `predictor` scores with them. The entry points are `Serving` and `load`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.errors import BarometerError, ModelError
from pipeline.models.bundle import Bundle, Feature, open_bundle
from pipeline.models.profile import PROFILE_FILE, Profile
from pipeline.models.routing import is_challengers
from pipeline.models.scoring.columns import Columns
from pipeline.models.scoring.scorer import Scorer
from pipeline.service.instances.signature import Signature, Values
from pipeline.service.model.copies import Candidate, InCharge
from pipeline.settings.model import Routing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model version, checked and ready."""

    version: str
    scorer: Scorer
    bundle: Bundle
    digest: str
    """sha256 of its `bundle.json`."""
    profile: Profile | None
    """None if the version has none."""


@dataclass(slots=True)
class Scores:
    """The predictions of instances, in order."""

    values: Sequence[Values]
    """The instances."""
    satisfaction: list[float]
    likely_satisfied: list[bool]
    by_challenger: list[bool] | None = None
    """In an A/B test, whether the challenger made the prediction; None if the champion made all."""


@dataclass(frozen=True)
class Serving:
    """The champion, and the challenger where routing gives it a part."""

    name: str
    """The model's name in the registry."""
    champion: Loaded
    challenger: Loaded | None
    routing: Routing
    since: datetime
    """When this service began to serve them."""

    def __str__(self) -> str:
        """Return the versions, for the log."""
        beside = f", beside it version {self.challenger.version}" if self.challenger else ""
        return f"version {self.champion.version} of the model {self.name!r}{beside}"

    @cached_property
    def signature(self) -> Signature:
        """What a request must hold."""
        return Signature(self.champion.bundle.features)

    def score(self, values: Sequence[Values], customer_ids: Sequence[str | None]) -> Scores:
        """Return the predictions that are served, each by its customer's model.

        Parameters
        ----------
        values
            The instances, in the signature's order.
        customer_ids
            For each instance; the champion answers where there is none.
        """
        champion, challengers = self.champion.scorer, self._challengers(customer_ids)
        if challengers is None or self.challenger is None:
            return _scores(champion, values, self._satisfaction(self.champion, values))
        satisfaction = np.empty(len(values))
        for loaded, rows in ((self.champion, ~challengers), (self.challenger, challengers)):
            satisfaction[rows] = self._satisfaction(loaded, [*compress(values, rows)])
        return _scores(champion, values, satisfaction, challengers.tolist())

    def shadow(self, values: Sequence[Values]) -> Scores:
        """Return the challenger's predictions, which are recorded but not served; ModelError if it fails."""
        assert self.challenger is not None, "called only where it has a part"
        return _scores(self.challenger.scorer, values, self._satisfaction(self.challenger, values))

    def _satisfaction(self, loaded: Loaded, values: Sequence[Values]) -> NDArray[np.float64]:
        return loaded.scorer.satisfaction(inputs_of(values, self.champion.scorer.features))

    def _challengers(self, customer_ids: Sequence[str | None]) -> Any:
        """Return which instances are the challenger's, as an array of booleans; None if none are."""
        if self.challenger is None or self.routing.mode != "ab" or not any(customer_ids):
            return None
        drawn = is_challengers(pa.array(customer_ids, pa.string()), self.routing.fraction, self.routing.salt)
        return drawn if drawn.any() else None


def _scores(
    scorer: Scorer,
    values: Sequence[Values],
    satisfaction: NDArray[np.float64],
    by_challenger: list[bool] | None = None,
) -> Scores:
    return Scores(values, satisfaction.tolist(), (satisfaction >= scorer.threshold).tolist(), by_challenger)


def load(found: InCharge, routing: Routing, before: Serving | None) -> tuple[Serving, BarometerError | None]:
    """Return the versions in charge, ready to serve, and why the challenger is left out, if it is.

    Versions that serve already, in `before`, are not loaded again; it is returned itself if nothing has changed.

    Raises
    ------
    ModelError
        If the champion's files are not what was sealed, its signature is not that of its bundle, or it cannot score.
    """
    name, champion = found.champion.version.name, _loaded(found.champion, before)
    _try(champion, champion.bundle.features)
    challenger, error = None, found.challenger_error
    if found.challenger:
        try:
            challenger = _challenger(found.challenger, champion, before)
        except BarometerError as its_error:
            error = its_error
    if before and before.name == name and before.champion is champion and before.challenger is challenger:
        return before, error
    serving = Serving(name, champion, challenger, routing, datetime.now(UTC))
    assert serving.signature is not None  # made now, not by the first request
    return serving, error


def _loaded(candidate: Candidate, before: Serving | None) -> Loaded:
    version, digest, threshold = candidate.version.version, candidate.version.digest, candidate.version.threshold
    for known in (before.champion, before.challenger) if before else ():
        if known and (known.version, known.digest, known.scorer.threshold) == (version, digest, threshold):
            return known
    bundle, profile = open_bundle(candidate.folder, digest), None
    scorer = Scorer.load(candidate.folder, digest, threshold=threshold)
    try:
        if PROFILE_FILE in bundle.files:
            profile = Profile.model_validate_json(bundle.read(candidate.folder, PROFILE_FILE))
    except ValidationError as error:  # of another version of Barometer: no prediction needs it
        log.warning("The training profile of version %s has another form: %s", version, error.errors()[0])
    return Loaded(version, scorer, bundle, digest, profile)


def _challenger(candidate: Candidate, champion: Loaded, before: Serving | None) -> Loaded:
    challenger = _loaded(candidate, before)
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


def inputs_of(values: Sequence[Values], features: Sequence[Feature]) -> Columns:
    """Return instances, each with a value for each feature, as columns by the feature's name."""
    columns = zip(*values, strict=True) if values else ((),) * len(features)
    return dict(zip([feature.name for feature in features], columns, strict=True))
