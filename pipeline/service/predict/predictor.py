"""Predictions for requests: the instances of requests that wait at the same time are scored as one batch.

A row's number does not depend on its batch (docs/decisions/0018), so batching changes no answer;
it shares the cost of a call of the model. A large request is scored in a thread, so that small ones need not wait. What
was answered goes to the recorder. The entry point is `Predictor.predict`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import BarometerError
from pipeline.models.routing import CHALLENGER, CHAMPION
from pipeline.service.calls import Call
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.signature import Instances
from pipeline.service.model.serving import Scores, Serving
from pipeline.service.record.recorder import Recorder
from pipeline.warehouse.online_predictions import Record

MOST_IN_SHADOW = 50_000
"""Instances that may wait for the challenger in the shadow."""
SMALL_ROWS = 64
"""A request of at most this many rows is scored on the event loop: a hop to a thread costs more than its scoring."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A request that waits for its predictions."""

    call: Call
    instances: Instances
    scored: "asyncio.Future[tuple[list[Prediction], int]]"
    """The predictions of the whole batch, and the position where this request's begin."""


class Predictor:
    """Scores the instances of many requests, and records what is answered, with the contract's name."""

    def __init__(self, recorder: Recorder | None, contract: str) -> None:
        self._recorder, self._contract = recorder, contract
        self._waiting: dict[int, tuple[Serving, list[_Waiting]]] = {}
        self.in_shadow = 0
        """Instances that the challenger has still to score in the shadow."""
        self._shadows: set[asyncio.Task[None]] = set()
        self._shadow_turn = asyncio.Semaphore()
        """The shadow takes at most one of the threads that requests need."""
        self.shadow_failures = 0
        """Batches that the challenger could not score in the shadow, or that came faster than it can score."""

    async def predict(self, call: Call, serving: Serving, instances: Instances) -> list[Prediction]:
        """Return the predictions of the good instances, in order; raise ModelError if the model fails on them."""
        call.rows = instances.rows
        if not instances.values:
            return []
        waiting = _Waiting(call, instances, asyncio.get_running_loop().create_future())
        if len(instances.values) > SMALL_ROWS:
            predictions = await self._predict_in_thread(serving, waiting)
        else:
            if not self._waiting:
                # One turn of the loop later, so that requests that have arrived meanwhile are read and join.
                loop = asyncio.get_running_loop()
                loop.call_soon(loop.call_soon, self._score_batches)
            self._waiting.setdefault(id(serving), (serving, []))[1].append(waiting)
            batch, start = await waiting.scored
            predictions = batch[start : start + len(instances.values)]
        for at, week in instances.weeks.items():
            predictions[at].features_week = week
        return predictions

    async def _predict_in_thread(self, serving: Serving, waiting: _Waiting) -> list[Prediction]:
        try:
            predictions, scores, now = await asyncio.to_thread(self._score, serving, [waiting])
        except asyncio.CancelledError:
            waiting.scored.cancel()  # then it is not recorded either
            raise
        self._start_shadow(serving, [waiting], scores, now)
        return predictions

    def _score_batches(self) -> None:
        batches, self._waiting = self._waiting, {}
        for serving, batch in batches.values():
            try:
                predictions, scores, now = self._score(serving, batch)
            except Exception as error:  # noqa: BLE001 - every request of the batch must get it; the front tells errors apart
                for waiting in batch:
                    if not waiting.scored.done():
                        waiting.scored.set_exception(error)
                continue
            start = 0
            for waiting in batch:
                if not waiting.scored.done():  # its client may have given up
                    waiting.scored.set_result((predictions, start))
                start += len(waiting.instances.values)
            self._start_shadow(serving, batch, scores, now)

    def _score(self, serving: Serving, batch: Sequence[_Waiting]) -> tuple[list[Prediction], Scores, float]:
        """Score and record a batch; return the predictions, what they are made of, and the time that the record has."""
        if len(batch) == 1:
            values = batch[0].instances.values
        else:
            values = [value for waiting in batch for value in waiting.instances.values]
        scores = serving.score(values, [customer for waiting in batch for customer, _ in waiting.instances.keys])
        predictions, now = _predictions(serving, scores), time.time()
        try:
            self._record(serving, batch, scores, now, is_served=True)
        except Exception:  # a fault of the record must not cost a client its answer
            log.exception("%d predictions cannot be recorded", len(predictions))
        return predictions, scores, now

    def _start_shadow(self, serving: Serving, batch: Sequence[_Waiting], served: Scores, now: float) -> None:
        """Have the challenger score the batch too, in the shadow: its numbers go to the record alone."""
        if self._recorder is None or serving.challenger is None or serving.routing.mode != "shadow":
            return
        rows = len(served.satisfaction)
        if self.in_shadow and self.in_shadow + rows > MOST_IN_SHADOW:
            self.shadow_failures += 1
            return
        self.in_shadow += rows
        task = asyncio.create_task(self._shadow(serving, batch, served, now))
        self._shadows.add(task)  # the loop itself keeps no reference to a task
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, serving: Serving, batch: Sequence[_Waiting], served: Scores, now: float) -> None:
        def score() -> None:
            self._record(serving, batch, serving.shadow(served.values), now, is_served=False)

        try:
            async with self._shadow_turn:
                await asyncio.to_thread(score)
        except Exception as error:  # the champion's predictions were sent already
            self.shadow_failures += 1
            bug = None if isinstance(error, BarometerError) else error
            log.warning("The challenger failed in the shadow: %s", error, exc_info=bug)
        finally:
            self.in_shadow -= len(served.satisfaction)

    def _record(
        self, serving: Serving, batch: Sequence[_Waiting], scores: Scores, now: float, *, is_served: bool
    ) -> None:
        """Record each prediction, except those of requests whose client has given up."""
        if self._recorder is None:
            return
        records: list[Record] = []
        at = 0
        challenger = serving.challenger or serving.champion
        for waiting in batch:
            instances, bad = waiting.instances, waiting.instances.bad
            if waiting.scored.cancelled():
                at += len(instances.values)
                continue
            rows = [row for row in range(instances.rows) if row not in bad] if bad else range(instances.rows)
            for position, (row, values, keys) in enumerate(zip(rows, instances.values, instances.keys, strict=True)):
                by_challenger = not is_served or (scores.by_challenger is not None and scores.by_challenger[at])
                record = Record(
                    now,
                    waiting.call.request_id,
                    row,
                    *keys,
                    values,
                    instances.weeks.get(position),
                    scores.satisfaction[at],
                    scores.likely_satisfied[at],
                    CHALLENGER if by_challenger else CHAMPION,
                    (challenger if by_challenger else serving.champion).version,
                    self._contract,
                    is_served,
                )
                records.append(record)
                at += 1
        self._recorder.put(serving.signature.names, records)


def _predictions(serving: Serving, scores: Scores) -> list[Prediction]:
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


WORDS = {
    True: [f"Likely satisfied: {percent} of 100 such customers are." for percent in range(101)],
    False: [f"Likely not satisfied: {percent} of 100 such customers are." for percent in range(101)],
}
