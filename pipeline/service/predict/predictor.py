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

from pipeline.errors import BarometerError
from pipeline.models.routing import CHALLENGER, CHAMPION
from pipeline.service.calls import Call
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.signature import Instances
from pipeline.service.model.serving import Scores, Serving
from pipeline.service.record.recorder import Record, Recorder

MOST_IN_SHADOW = 50_000
"""Instances that may wait for the challenger in the shadow."""
SMALL_ROWS = 64
"""A request of so many rows is scored on the event loop: a hop to a thread costs more than its scoring."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Asked:
    """A request's instances, and where their scores will be."""

    call: Call
    instances: Instances
    scored: "asyncio.Future[tuple[list[Prediction], int]]"
    """The predictions of the whole batch, and where in it this request's begin."""


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
        self.in_shadow = 0
        """Instances that the challenger is still to score in the shadow."""
        self._shadows: set[asyncio.Task[None]] = set()
        self._shadow_turn = asyncio.Semaphore()
        """The shadow takes at most one of the threads that requests need."""
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
            found, start = await self._scored_alone(serving, asked), 0
        else:
            self._wait_for_others(serving, asked)
            found, start = await asked.scored
        own = found[start : start + len(instances.values)]
        for at, week in instances.weeks.items():
            own[at].features_week = week
        return own

    async def _scored_alone(self, serving: Serving, asked: _Asked) -> list[Prediction]:
        try:
            scores, now = await asyncio.to_thread(self._scored_and_recorded, serving, asked)
        except asyncio.CancelledError:
            asked.scored.cancel()  # then it is not recorded either
            raise
        self._shadow(serving, [asked], scores, now)
        return _predictions(serving, scores)

    def _scored_and_recorded(self, serving: Serving, asked: _Asked) -> tuple[Scores, float]:
        scores = _score(serving, [asked])
        return scores, self._record(serving, [asked], scores)

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
                found = _predictions(serving, scores)
            except Exception as error:  # noqa: BLE001 - nobody may be left waiting; the front tells errors apart
                for asked in together:
                    if not asked.scored.done():
                        asked.scored.set_exception(error)
            else:
                _hand_out(found, together)
                self._shadow(serving, together, scores, self._record(serving, together, scores))

    def _record(self, serving: Serving, together: Sequence[_Asked], scores: Scores) -> float:
        """Record what is answered; return when that was."""
        now = time.time()
        if self._recorder is not None:
            records = list(_records(serving, together, scores, now, self._contract, is_served=True))
            self._recorder.put(serving.signature.names, records)
        return now

    def _shadow(self, serving: Serving, together: Sequence[_Asked], served: Scores, now: float) -> None:
        """Have the challenger say, when it comes to it, what it would have answered: for the record alone."""
        if self._recorder is None or serving.challenger is None or serving.routing.mode != "shadow":
            return
        rows = len(served.satisfaction)
        if self.in_shadow and self.in_shadow + rows > MOST_IN_SHADOW:
            self.shadow_failures += 1
            return
        self.in_shadow += rows
        task = asyncio.create_task(self._in_its_turn(serving, together, served, now))
        self._shadows.add(task)  # the loop itself keeps no reference to a task
        task.add_done_callback(self._shadows.discard)

    async def _in_its_turn(self, serving: Serving, together: Sequence[_Asked], served: Scores, now: float) -> None:
        try:
            async with self._shadow_turn:
                await asyncio.to_thread(self._shadowed, serving, together, served, now)
        except Exception as error:  # that it cannot hurts nobody
            self.shadow_failures += 1
            bug = None if isinstance(error, BarometerError) else error
            log.warning("The challenger failed in the shadow: %s", error, exc_info=bug)
        finally:
            self.in_shadow -= len(served.satisfaction)

    def _shadowed(self, serving: Serving, together: Sequence[_Asked], served: Scores, now: float) -> None:
        assert self._recorder is not None, "the shadow is for the record"
        scores = serving.shadow(served.columns)
        records = list(_records(serving, together, scores, now, self._contract, is_served=False))
        self._recorder.put(serving.signature.names, records)


def _score(serving: Serving, together: Sequence[_Asked]) -> Scores:
    if len(together) == 1:
        instances = together[0].instances
        return serving.score(instances.values, [customer for customer, _ in instances.keys])
    values = [value for asked in together for value in asked.instances.values]
    return serving.score(values, [customer for asked in together for customer, _ in asked.instances.keys])


def _hand_out(found: list[Prediction], together: Sequence[_Asked]) -> None:
    start = 0
    for asked in together:
        if not asked.scored.done():  # who asked may have given up
            asked.scored.set_result((found, start))
        start += len(asked.instances.values)


def _predictions(serving: Serving, scores: Scores) -> list[Prediction]:
    """Return the answers of a whole batch."""
    version = serving.champion.version
    found = [
        Prediction(satisfaction, satisfied, version, CHAMPION, WORDS[satisfied][round(100 * satisfaction)])
        for satisfaction, satisfied in zip(scores.satisfaction, scores.likely_satisfied, strict=True)
    ]
    if scores.by_challenger is not None and serving.challenger is not None:
        for prediction, is_challengers in zip(found, scores.by_challenger, strict=True):
            if is_challengers:
                prediction.model_version, prediction.role = serving.challenger.version, CHALLENGER
    return found


def _records(
    serving: Serving, together: Sequence[_Asked], scores: Scores, now: float, contract: str, *, is_served: bool
) -> Iterator[Record]:
    """Yield what is kept of each prediction, but for those of who has given up."""
    at = 0
    challenger = serving.challenger or serving.champion
    for asked in together:
        instances, request_id = asked.instances, asked.call.request_id
        if asked.scored.cancelled():
            at += len(instances.values)
            continue
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


WORDS = {
    True: [f"Likely satisfied: {percent} of 100 such customers are." for percent in range(101)],
    False: [f"Likely not satisfied: {percent} of 100 such customers are." for percent in range(101)],
}
