"""Routes of a contract that is somebody else's standard, made of its functions and its description.

Entry points: `Standard`, and `off_loop`, by which our own contract bounds what it does on the event loop too.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from starlette.responses import Response

from pipeline.service.calls import TEXT, AccessScope, Call, Endpoint, ErrorForm, Route, as_json, problem
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Instances
from pipeline.service.model.current import Current
from pipeline.service.openapi import described
from pipeline.service.predict.predictor import Predictor

SMALL_BYTES = 1_024
"""A larger body is read in a thread: it can hold so many tiny bad rows that other requests would wait."""
LONG_ROWS = 1_000
"""The answer for more rows is written in a thread."""

Read = Callable[[Call, Reader], Instances]
Write = Callable[[Sequence[Prediction], Instances], Response]
_Result = TypeVar("_Result")


class Standard:
    """Makes the routes of a contract, described in `{name}.yaml` with `values` for its placeholders."""

    def __init__(
        self,
        name: str,
        current: Current,
        predictor: Predictor,
        most_rows: int,
        error: ErrorForm = problem,
        **values: Any,
    ) -> None:
        self._current = current
        self._predictor = predictor
        self._most_rows = most_rows
        self._error = error
        self._paths = described(f"contracts/{name}.yaml", most_rows=most_rows, **values)

    def route(
        self, method: Literal["GET", "POST"], path: str, endpoint: Endpoint, scope: AccessScope | None = None
    ) -> Route:
        """Return a route with its description."""
        return Route(method, path, endpoint, scope, self._paths, self._error)

    def get(self, path: str, content: str | Mapping[str, Any], *, needs_model: bool = False) -> Route:
        """Return a route that always answers the same text or JSON, or 503 if it needs a model and there is none."""

        async def answer(_call: Call) -> Response:
            if needs_model:
                _ = self._current.serving  # refuses if there is none
            return Response(content, media_type=TEXT) if isinstance(content, str) else as_json(content)

        return self.route("GET", path, answer)

    def predictions(self, read: Read, write: Write, *, on_error_row: bool = False) -> Endpoint:
        """Return the endpoint that predicts; with `on_error_row` an error is answered in a bad row's place."""

        async def predict(call: Call) -> Response:
            serving = self._current.serving
            reader = Reader(serving.signature, self._most_rows, on_error_row)
            instances = await off_loop(len(call.content) > SMALL_BYTES, lambda: read(call, reader))
            predictions = await self._predictor.predict(call, serving, instances)
            return await off_loop(instances.rows > LONG_ROWS, lambda: write(predictions, instances))

        return predict


async def off_loop(is_large: bool, work: Callable[[], _Result]) -> _Result:
    """Return what `work` returns; large work is done in a thread, so that other requests need not wait."""
    return await asyncio.to_thread(work) if is_large else work()
