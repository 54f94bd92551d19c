"""Predictions for requests: the instances of requests that wait at the same time are scored as one batch.

A row's number does not depend on its batch (one intra-op thread, docs/decisions/0006), so batching changes no answer;
it shares the cost of a call of the model. A large request is scored in a thread, so that small ones need not wait. What
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
from pipeline.service.record.recorder import Recorder
from pipeline.service.record.table import Record

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
        """Return the predictions of the good instances, in order.

        Raises
        ------
        ModelError
            If the model fails on them.
        """
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
        def score_and_record() -> tuple[Scores, float]:
            scores = _score(serving, [waiting])
            return scores, self._record(serving, [waiting], scores)

        try:
            scores, now = await asyncio.to_thread(score_and_record)
        except asyncio.CancelledError:
            waiting.scored.cancel()  # then it is not recorded either
            raise
        self._start_shadow(serving, [waiting], scores, now)
        return _predictions(serving, scores)

    def _score_batches(self) -> None:
        batches, self._waiting = self._waiting, {}
        for serving, batch in batches.values():
            try:
                scores = _score(serving, batch)
                predictions = _predictions(serving, scores)
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
            self._start_shadow(serving, batch, scores, self._record(serving, batch, scores))

    def _record(self, serving: Serving, batch: Sequence[_Waiting], scores: Scores) -> float:
        """Record what is answered; return the time that the record has."""
        now = time.time()
        if self._recorder is not None:
            records = list(_records(serving, batch, scores, now, self._contract, is_served=True))
            self._recorder.put(serving.signature.names, records)
        return now

    def _start_shadow(self, serving: Serving, batch: Sequence[_Waiting], served: Scores, now: float) -> None:
        """Have the challenger score the batch too, in the shadow: its numbers go to the record alone."""
        if self._recorder is None or serving.challenger is None or serving.routing.mode != "shadow":
            return
        rows = len(served.satisfaction)
        if self.in_shadow and self.in_shadow + rows > MOST_IN_SHADOW:
            self.shadow_failures += 1
            return
        self.in_shadow += rows
        task = asyncio.create_task(self._shadow(self._recorder, serving, batch, served, now))
        self._shadows.add(task)  # the loop itself keeps no reference to a task
        task.add_done_callback(self._shadows.discard)

    async def _shadow(
        self, recorder: Recorder, serving: Serving, batch: Sequence[_Waiting], served: Scores, now: float
    ) -> None:
        def score_and_record() -> None:
            scores = serving.shadow(served.columns)
            records = list(_records(serving, batch, scores, now, self._contract, is_served=False))
            recorder.put(serving.signature.names, records)

        try:
            async with self._shadow_turn:
                await asyncio.to_thread(score_and_record)
        except Exception as error:  # the champion's predictions were sent already
            self.shadow_failures += 1
            bug = None if isinstance(error, BarometerError) else error
            log.warning("The challenger failed in the shadow: %s", error, exc_info=bug)
        finally:
            self.in_shadow -= len(served.satisfaction)


def _score(serving: Serving, batch: Sequence[_Waiting]) -> Scores:
    if len(batch) == 1:
        instances = batch[0].instances
        return serving.score(instances.values, [customer for customer, _ in instances.keys])
    values = [value for waiting in batch for value in waiting.instances.values]
    return serving.score(values, [customer for waiting in batch for customer, _ in waiting.instances.keys])


def _predictions(serving: Serving, scores: Scores) -> list[Prediction]:
    """Return the predictions of a whole batch."""
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
    serving: Serving, batch: Sequence[_Waiting], scores: Scores, now: float, contract: str, *, is_served: bool
) -> Iterator[Record]:
    """Yield the record of each prediction, except those of requests whose client has given up."""
    at = 0
    challenger = serving.challenger or serving.champion
    for waiting in batch:
        instances = waiting.instances
        if waiting.scored.cancelled():
            at += len(instances.values)
            continue
        bad = instances.bad
        good_rows = [row for row in range(instances.rows) if row not in bad] if bad else range(instances.rows)
        for position, (row, values, keys) in enumerate(zip(good_rows, instances.values, instances.keys, strict=True)):
            by_challenger = not is_served or (scores.by_challenger is not None and scores.by_challenger[at])
            loaded = challenger if by_challenger else serving.champion
            yield Record(
                now,
                waiting.call.request_id,
                row,
                *keys,
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
