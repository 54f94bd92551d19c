"""Which route answers a request: a look into a dict for literal paths, Starlette's patterns for all others.

The prediction routes are literal paths, so that the hot way to the front is one dict look-up. The entry point is
`Dispatcher`, the ASGI application.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route
from pipeline.service.server.front import Front


class Dispatcher:
    """Finds the route of each request and has the front answer it.

    Of several routes with one method and path the first counts. GET's route answers HEAD too.
    """

    def __init__(self, routes: Sequence[Route], front: Front) -> None:
        self._front = front
        paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            paths.setdefault(route.path, {}).setdefault(route.method, route)
        self._literal = {(route.method, path): route for path in paths for route in paths[path].values()}
        literal_first = sorted(paths, key=lambda path: "{" in path)
        self._patterns = [(compile_path(path)[0], paths[path]) for path in literal_first]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; uvicorn is set up to speak nothing but HTTP."""
        path = scope["raw_path"].decode("latin-1")  # percent-encoded, so that an encoded slash is part of a parameter
        route = self._literal.get((scope["method"], path)) or self._matching(path, scope)
        await self._front.handle(route, scope, receive, send)

    def _matching(self, path: str, scope: Scope) -> Route:
        """Return the route whose pattern matches, its parameters noted, or one that refuses the request."""
        for pattern, methods in self._patterns:
            if found := pattern.match(path):
                scope["path_params"] = {name: unquote(value) for name, value in found.groupdict().items()}
                return methods.get("GET" if scope["method"] == "HEAD" else scope["method"]) or _refusing(methods)
        return _refusing({})


def _refusing(methods: Mapping[str, Route]) -> Route:
    """Return a route that refuses what the path, which has these methods, does not have."""

    async def refuse(call: Call) -> Response:
        if not methods:
            raise RequestError(404, "There is no such path.", "one of those in /docs.", "see /docs.")
        allowed = ", ".join(sorted({*methods} | ({"HEAD"} if "GET" in methods else set())))
        found = f"This path does not have the method {call.method[:20]}."
        raise RequestError(405, found, f"{allowed}.", "see /docs.", headers={"allow": allowed})

    return Route("GET", "unknown", refuse)
