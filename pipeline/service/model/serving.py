"""The model versions that serve, as one unchanging object that a request takes once and uses to its end.

`loading` makes it, `current` replaces it as a whole, `predictor` scores with it. The entry points are `Serving` and
`Loaded`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.models.bundle import Bundle, Feature
from pipeline.models.profile import Profile
from pipeline.models.routing import is_challengers, routed_satisfaction
from pipeline.models.scorer import MISSING, Scorer, finite
from pipeline.service.instances.signature import Signature, Values
from pipeline.settings.model import Routing

Columns = Mapping[str, NDArray[Any]]
"""The model's inputs by feature name, as `pipeline.models.scorer.inputs` makes them."""


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

    columns: Columns
    """The instances' features, as the scorer got them."""
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
        columns = inputs_of(values, self.champion.scorer.features)
        champion, challengers = self.champion.scorer, self._challengers(customer_ids)
        if challengers is None or self.challenger is None:
            return _scores(champion, columns, champion.satisfaction(columns))
        satisfaction = routed_satisfaction(columns, challengers, champion, self.challenger.scorer)
        return _scores(champion, columns, satisfaction, challengers.tolist())

    def shadow(self, columns: Columns) -> Scores:
        """Return the challenger's predictions, which are recorded but not served; ModelError if it fails."""
        assert self.challenger is not None, "called only where it has a part"
        scorer = self.challenger.scorer
        return _scores(scorer, columns, scorer.satisfaction(columns))

    def _challengers(self, customer_ids: Sequence[str | None]) -> Any:
        """Return which instances are the challenger's, as an array of booleans; None if none are."""
        if self.challenger is None or self.routing.mode != "ab" or not any(customer_ids):
            return None
        drawn = is_challengers(pa.array(customer_ids, pa.string()), self.routing.fraction, self.routing.salt)
        return drawn if drawn.any() else None


def inputs_of(values: Sequence[Values], features: Sequence[Feature]) -> dict[str, NDArray[Any]]:
    """Return instances as `pipeline.models.scorer.inputs` returns a record batch: a column (rows, 1) by feature."""
    columns = dict(zip((feature.name for feature in features), zip(*values, strict=True), strict=True))
    numbers = [feature.name for feature in features if feature.kind == "number"]
    block = finite(np.array([columns[name] for name in numbers], dtype=np.float64))  # None becomes NaN
    of_numbers = dict(zip(numbers, block[:, :, None] if numbers else (), strict=True))
    return {
        name: of_numbers[name] if name in of_numbers else _texts(column)[:, None] for name, column in columns.items()
    }


def _texts(column: Sequence[Any]) -> NDArray[Any]:
    return np.array([MISSING if text is None else text for text in column], dtype=object)


def _scores(
    scorer: Scorer, columns: Columns, satisfaction: NDArray[np.float64], by_challenger: list[bool] | None = None
) -> Scores:
    return Scores(columns, satisfaction.tolist(), (satisfaction >= scorer.threshold).tolist(), by_challenger)
