"""What the service says of itself: whether it lives, whether it is ready, its metrics, its OpenAPI document.

The entry point is `routes`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.service.access.keys import Keyring
from pipeline.service.calls import JSON, TEXT, Call, Route, as_json
from pipeline.service.latest import Latest
from pipeline.service.model.current import Current
from pipeline.service.observe.metrics import CONTENT_TYPE, Metrics
from pipeline.service.openapi import Schema, answer, content, operation
from pipeline.service.record.recorder import Recorder

Document = Callable[[], Mapping[str, Any]]
"""Returns the OpenAPI document of the routes and the model in charge, the same object for the same model."""
TAG = "The service itself"
HEALTHY = operation(
    "Whether the service lives",
    tag=TAG,
    responses={200: answer("It does.", {"text/plain": content({"const": "ok\n"})})},
)
_READINESS: Schema = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["ready", "degraded", "not ready"]}},
}
READY = operation(
    "Whether predictions are answered, by which model, and what is wrong",
    tag=TAG,
    responses={
        200: answer("They are; `degraded` when something is wrong nevertheless.", {JSON: content(_READINESS)}),
        503: answer("They are not: no model is in charge.", {JSON: content(_READINESS)}),
    },
)
METRICS = operation(
    "Prometheus metrics", tag=TAG, responses={200: answer("All of them.", {"text/plain": content({"type": "string"})})}
)
DOCUMENT = operation(
    "This document", tag=TAG, responses={200: answer("OpenAPI 3.1.", {JSON: content({"type": "object"})})}
)


def routes(
    current: Current, recorder: Recorder | None, keyring: Keyring | None, metrics: Metrics, document: Document
) -> list[Route]:
    """Return the routes that every contract has."""
    made: Latest[Mapping[str, Any], bytes] = Latest(msgspec.json.encode)
    return [
        Route("GET", "/healthz", _healthy, operation=HEALTHY),
        Route("GET", "/readyz", partial(_ready, current, recorder, keyring), operation=READY),
        Route("GET", "/metrics", partial(_metrics, metrics), scope="admin", operation=METRICS),
        Route("GET", "/openapi.json", partial(_openapi, document, made), operation=DOCUMENT),
    ]


async def _healthy(_call: Call) -> Response:
    return Response(b"ok\n", media_type=TEXT)


async def _ready(current: Current, recorder: Recorder | None, keyring: Keyring | None, _call: Call) -> Response:
    """Answer 200 while predictions are answered, be it by the last good model; the body says what is wrong."""
    readiness = current.readiness()
    if recorder is not None:
        readiness["record"] = recorder.state
    if keyring is not None:
        readiness["keys"] = keyring.trouble or "ok"
    return as_json(readiness, 503 if readiness["status"] == "not ready" else 200)


async def _metrics(metrics: Metrics, _call: Call) -> Response:
    return Response(metrics.text(), media_type=CONTENT_TYPE)


async def _openapi(document: Document, made: Latest[Mapping[str, Any], bytes], _call: Call) -> Response:
    return Response(made.of(document()), media_type=JSON)
