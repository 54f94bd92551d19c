"""What the service reports of itself: whether it lives, whether it is ready, its metrics, its OpenAPI document.

The entry point is `routes`.
"""

from collections.abc import Callable

from starlette.responses import Response

from pipeline.service.access.admission import Keyring
from pipeline.service.calls import JSON, TEXT, Call, Route, as_json
from pipeline.service.model.current import Current
from pipeline.service.observe.metrics import CONTENT_TYPE, Metrics
from pipeline.service.openapi import described
from pipeline.service.record.recorder import Recorder


def routes(
    current: Current,
    recorder: Recorder | None,
    keyring: Keyring | None,
    metrics: Metrics,
    document: Callable[[], bytes],
) -> list[Route]:
    """Return the routes that every contract has; `document` returns the OpenAPI document as JSON."""

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
        return Response(document(), media_type=JSON)

    paths = described("observe/health.yaml")
    return [
        Route("GET", "/healthz", healthz, paths=paths),
        Route("GET", "/readyz", readyz, paths=paths),
        Route("GET", "/metrics", scrape, "admin", paths),
        Route("GET", "/openapi.json", openapi, paths=paths),
    ]
