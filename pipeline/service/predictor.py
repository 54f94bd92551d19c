"""Predictions for requests: instances of requests that wait at the same time are scored as one batch.

A row's number does not depend on its batch (one intra-op thread, docs/decisions), so batching changes no answer; it
shares the cost of a call of the model. Large requests are scored in a thread, so that small ones need not wait. What
was answered goes to the recorder. The entry point is `Predictor.predict`.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from pipeline.errors import BarometerError
from pipeline.models.routing import CHALLENGER, CHAMPION
from pipeline.service.calls import Call
from pipeline.service.record import Record, Recorder
from pipeline.service.serving import Scores, Serving
from pipeline.service.signature import Instances

MOST_IN_SHADOW = 100
"""Batches that may wait for the challenger in the shadow."""
SMALL_ROWS = 64
"""A request of so many rows is scored on the event loop: a hop to a thread costs more than its scoring."""

log = logging.getLogger(__name__)


class Prediction(msgspec.Struct, omit_defaults=True, gc=False):
    """The answer for one instance."""

    satisfaction: float
    """0 to 1."""
    satisfied: bool
    """Whether that is at or above the threshold."""
    model_version: str
    role: str
    words: str
    """For a person."""
    features_week: str | None = None
    """The week of the snapshot that completed the features."""


@dataclass(slots=True)
class _Asked:
    """A request's instances, and where their scores will be."""

    call: Call
    instances: Instances
    scored: "asyncio.Future[tuple[Scores, int]]"
    """The scores of the whole batch, and where in it this request's begin."""


class Predictor:
    """Scores instances of many requests.

    Parameters
    ----------
    recorder
        Where answers are recorded; None records none.
    contract
        What the record says of how the request came.
    """

    def __init__(self, recorder: Recorder | None, contract: str) -> None:
        self._recorder = recorder
        self._contract = contract
        self._waiting: dict[int, tuple[Serving, list[_Asked]]] = {}
        self.in_shadow: set[asyncio.Future[None]] = set()
        """What the challenger is still to score in the shadow."""
        self.shadow_failures = 0
        """Batches that the challenger could not score in the shadow, or that came faster than it can."""

    async def predict(self, call: Call, serving: Serving, instances: Instances) -> list[Prediction]:
        """Return the predictions of the good instances, in order.

        Raises
        ------
        ModelError
            If the model fails on them.
        """
        call.rows = instances.rows
        if not instances.values:
            return []
        asked = _Asked(call, instances, asyncio.get_running_loop().create_future())
        if len(instances.values) > SMALL_ROWS:
            return _predictions(serving, instances, await asyncio.to_thread(self._scored_alone, serving, asked), 0)
        self._wait_for_others(serving, asked)
        return _predictions(serving, instances, *await asked.scored)

    def _scored_alone(self, serving: Serving, asked: _Asked) -> Scores:
        scores = _score(serving, [asked])
        now = self._record(serving, [asked], scores)
        if self._is_shadowed(serving):
            self._shadow(serving, [asked], scores, now)
        return scores

    def _wait_for_others(self, serving: Serving, asked: _Asked) -> None:
        if not self._waiting:
            # One turn of the loop later, so that the requests that have come meanwhile are read and join.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._flush)
        self._waiting.setdefault(id(serving), (serving, []))[1].append(asked)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for serving, together in waiting.values():
            try:
                scores = _score(serving, together)
            except Exception as error:  # noqa: BLE001 - nobody may be left waiting; the front tells errors apart
                for asked in together:
                    if not asked.scored.done():
                        asked.scored.set_exception(error)
            else:
                self._answered(serving, together, scores)

    def _answered(self, serving: Serving, together: Sequence[_Asked], scores: Scores) -> None:
        """Hand the scores out, then see to the record and the shadow."""
        start = 0
        for asked in together:
            if not asked.scored.done():  # who asked may have given up
                asked.scored.set_result((scores, start))
            start += len(asked.instances.values)
        now = self._record(serving, together, scores)
        if not self._is_shadowed(serving):
            return
        if len(self.in_shadow) >= MOST_IN_SHADOW:
            self.shadow_failures += 1
            return
        task = asyncio.ensure_future(asyncio.to_thread(self._shadow, serving, together, scores, now))
        self.in_shadow.add(task)  # the loop itself keeps no reference to a task
        task.add_done_callback(self.in_shadow.discard)

    def _record(self, serving: Serving, together: Sequence[_Asked], scores: Scores) -> float:
        """Record what was answered; return when that was."""
        now = time.time()
        if self._recorder is not None:
            records = list(_records(serving, together, scores, now, self._contract, is_served=True))
            self._recorder.put(serving.signature.names, records)
        return now

    def _is_shadowed(self, serving: Serving) -> bool:
        """Return whether the challenger is to say what it would have answered: for the record alone."""
        return self._recorder is not None and serving.challenger is not None and serving.routing.mode == "shadow"

    def _shadow(self, serving: Serving, together: Sequence[_Asked], served: Scores, now: float) -> None:
        """Have the challenger say what it would have answered; that it cannot hurts nobody."""
        assert self._recorder is not None, "the shadow is for the record"
        try:
            scores = serving.shadow(served.columns)
        except BarometerError as error:
            self.shadow_failures += 1
            log.warning("The challenger failed in the shadow: %s", error)
            return
        records = list(_records(serving, together, scores, now, self._contract, is_served=False))
        self._recorder.put(serving.signature.names, records)


def _score(serving: Serving, together: Sequence[_Asked]) -> Scores:
    if len(together) == 1:
        instances = together[0].instances
        return serving.score(instances.values, [customer for customer, _ in instances.keys])
    values = [value for asked in together for value in asked.instances.values]
    return serving.score(values, [customer for asked in together for customer, _ in asked.instances.keys])


def _predictions(serving: Serving, instances: Instances, scores: Scores, start: int) -> list[Prediction]:
    """Return the answers of one request from the scores of its batch."""
    stop = start + len(instances.values)
    version = serving.champion.version
    found = [
        Prediction(satisfaction, satisfied, version, CHAMPION, _WORDS[satisfied][round(100 * satisfaction)])
        for satisfaction, satisfied in zip(
            scores.satisfaction[start:stop], scores.likely_satisfied[start:stop], strict=True
        )
    ]
    if scores.by_challenger is not None and serving.challenger is not None:
        for at, is_challengers in enumerate(scores.by_challenger[start:stop]):
            if is_challengers:
                found[at].model_version, found[at].role = serving.challenger.version, CHALLENGER
    for at, week in instances.weeks.items():
        found[at].features_week = week
    return found


def _records(
    serving: Serving, together: Sequence[_Asked], scores: Scores, now: float, contract: str, *, is_served: bool
) -> Iterator[Record]:
    """Yield what is kept of each prediction."""
    at = 0
    challenger = serving.challenger or serving.champion
    for asked in together:
        instances, request_id = asked.instances, asked.call.request_id
        good_rows = [row for row in range(instances.rows) if row not in instances.bad] if instances.bad else None
        for position, values in enumerate(instances.values):
            row = position if good_rows is None else good_rows[position]
            by_challenger = not is_served or (scores.by_challenger is not None and scores.by_challenger[at])
            loaded = challenger if by_challenger else serving.champion
            customer_id, product_id = instances.keys[position]
            yield (
                now,
                request_id,
                row,
                customer_id,
                product_id,
                values,
                instances.weeks.get(position),
                scores.satisfaction[at],
                scores.likely_satisfied[at],
                CHALLENGER if by_challenger else CHAMPION,
                loaded.version,
                contract,
                is_served,
            )
            at += 1


_WORDS = {
    True: [f"Likely satisfied: {percent} of 100 such customers are." for percent in range(101)],
    False: [f"Likely not satisfied: {percent} of 100 such customers are." for percent in range(101)],
}
