"""Which route answers a request: a look into a dict for literal paths, Starlette's router for all others.

The prediction routes are literal paths, so that the hot way to the front is one dict look-up. The entry point is
`Dispatcher`, the ASGI application.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.responses import Response
from starlette.routing import Route as PathRoute
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Endpoint, Route
from pipeline.service.server.front import Front


class Dispatcher:
    """Finds the route of each request and has the front answer it.

    Parameters
    ----------
    routes
        Of several with one method and path the first counts. GET's route answers HEAD too.
    front
        What answers.
    """

    def __init__(self, routes: Sequence[Route], front: Front) -> None:
        self._front = front
        self._literal: dict[tuple[str, str], Route] = {}
        paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            paths.setdefault(route.path, {}).setdefault(route.method, route)
        for path, methods in paths.items():
            if "{" not in path:
                self._literal |= {(method, path): route for method, route in methods.items()}
        literal_first = sorted(paths, key=lambda path: "{" in path)
        self._router = Router(
            [PathRoute(path, _Methods(paths[path], front)) for path in literal_first],
            redirect_slashes=False,
            default=_Methods({}, front),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; uvicorn is told to speak nothing but HTTP."""
        path = scope["raw_path"].decode("latin-1")
        route = self._literal.get((scope["method"], path))
        if route is not None:
            await self._front.handle(route, scope, receive, send)
        else:
            scope["path"] = path  # percent-encoded, so that an encoded slash is part of a parameter
            await self._router(scope, receive, send)


@dataclass(frozen=True)
class _Methods:
    """The routes of one path, by method; without any there is no such path."""

    routes: dict[str, Route]
    front: Front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope["path_params"] = {name: unquote(value) for name, value in scope.get("path_params", {}).items()}
        route = self.routes.get(method) or Route("GET", "unknown", self._refuse())
        await self.front.handle(route, scope, receive, send)

    def _refuse(self) -> Endpoint:
        async def refuse(call: Call) -> Response:
            if not self.routes:
                raise RequestError(404, "There is no such path.", "one of those in /docs.", "see /docs.")
            allowed = ", ".join(sorted({*self.routes} | ({"HEAD"} if "GET" in self.routes else set())))
            found = f"This path does not have the method {call.method[:20]}."
            raise RequestError(405, found, f"{allowed}.", "see /docs.", headers={"allow": allowed})

        return refuse
