"""What the service reports of itself: whether it lives, whether it is ready, its metrics, its OpenAPI document.

The entry point is `routes`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from pipeline.service.access.admission import Keyring
from pipeline.service.calls import JSON, TEXT, Call, Route, as_json
from pipeline.service.model.current import Current
from pipeline.service.observe.metrics import CONTENT_TYPE, Metrics
from pipeline.service.openapi import Schema, answer, content, operation
from pipeline.service.record.recorder import Recorder

Document = Callable[[], Mapping[str, Any]]
"""Returns the OpenAPI document of the routes and the model in charge, the same object for the same model."""
READINESS: Schema = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["ready", "degraded", "not ready"]}},
}


def routes(
    current: Current, recorder: Recorder | None, keyring: Keyring | None, metrics: Metrics, document: Document
) -> list[Route]:
    """Return the routes that every contract has."""

    async def healthz(_call: Call) -> Response:
        return Response(b"ok\n", media_type=TEXT)

    async def readyz(_call: Call) -> Response:
        """Answer 200 while predictions are answered, even by the last good model; the body says what is wrong."""
        readiness = current.readiness()
        if recorder is not None:
            readiness["record"] = recorder.state
        if keyring is not None:
            readiness["keys"] = keyring.problem or "ok"
        return as_json(readiness, 503 if readiness["status"] == "not ready" else 200)

    async def scrape(_call: Call) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def openapi(_call: Call) -> Response:
        return as_json(document())

    return [
        Route("GET", "/healthz", healthz, operation=_described("Whether the service lives", "text/plain", "ok\n")),
        Route("GET", "/readyz", readyz, operation=READY),
        Route("GET", "/metrics", scrape, "admin", _described("Prometheus metrics", "text/plain")),
        Route("GET", "/openapi.json", openapi, operation=_described("This document, OpenAPI 3.1", JSON)),
    ]


def _described(summary: str, media_type: str, body: str | None = None, tag: str = "The service itself") -> Schema:
    schema = {"const": body} if body else {"type": "object" if media_type == JSON else "string"}
    return operation(summary, tag=tag, responses={200: answer(f"{summary}.", {media_type: content(schema)})})


READY = operation(
    "Whether predictions are answered, by which model, and what is wrong",
    tag="The service itself",
    responses={
        200: answer("Predictions are answered; `degraded` when something is wrong.", {JSON: content(READINESS)}),
        503: answer("No model is in charge, so predictions are not answered.", {JSON: content(READINESS)}),
    },
)
