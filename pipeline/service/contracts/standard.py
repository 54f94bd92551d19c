"""Routes of a contract that is somebody else's standard, made of its functions and its description.

Entry points: `Standard`, and `off_loop`, by which our own contract bounds what it does on the event loop too.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from starlette.responses import Response

from pipeline.service.calls import TEXT, Call, ErrorForm, Paths, Route, as_json, problem
from pipeline.service.instances.predictions import Prediction, write
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Instances
from pipeline.service.model.current import Current
from pipeline.service.openapi import described
from pipeline.service.predict.predictor import Predictor
from pipeline.settings.service import Service

SMALL_BYTES = 1_024
"""A larger body is read in a thread: it can hold so many tiny bad rows that other requests would wait."""
LONG_ROWS = 1_000
"""The answer for more rows is written in a thread."""

Read = Callable[[Call, Reader], Instances]
Write = Callable[[Sequence[Prediction], Instances], Response]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Standard:
    """Makes the routes of a contract, with the description and the form of errors that `described` gives it."""

    current: Current
    predictor: Predictor
    service: Service
    most_rows: int
    paths: Paths | None = None
    error: ErrorForm = problem

    def described(self, name: str, error: ErrorForm = problem, **values: Any) -> Self:
        """Return this with the description `name`.yaml, a template with `values`, and a form of errors."""
        paths = described(f"contracts/{name}.yaml", most_rows=self.most_rows, **values)
        return replace(self, paths=paths, error=error)

    def get(self, path: str, content: str | Mapping[str, Any], *, needs_model: bool = False) -> Route:
        """Return a route that always answers the same text or JSON, or 503 if it needs a model and there is none."""

        async def answer(_call: Call) -> Response:
            if needs_model:
                _ = self.current.serving  # refuses if there is none
            return Response(content, media_type=TEXT) if isinstance(content, str) else as_json(content)

        return Route("GET", path, answer, None, self.paths, self.error)

    def predictions(self, path: str, read: Read, write: Write = write, *, on_error_row: bool = False) -> Route:
        """Return the route that predicts; with `on_error_row` an error is answered in a bad row's place."""

        async def predict(call: Call) -> Response:
            serving = self.current.serving
            reader = Reader(serving.signature, self.most_rows, on_error_row)
            instances = await off_loop(len(call.content) > SMALL_BYTES, lambda: read(call, reader))
            predictions = await self.predictor.predict(call, serving, instances)
            return await off_loop(instances.rows > LONG_ROWS, lambda: write(predictions, instances))

        return Route("POST", path, predict, "predict", self.paths, self.error)


async def off_loop(is_large: bool, work: Callable[[], _Result]) -> _Result:
    """Return what `work` returns; large work is done in a thread, so that other requests need not wait."""
    return await asyncio.to_thread(work) if is_large else work()
