"""Which route answers a request: a look into a dict for literal paths, Starlette's patterns for all others.

The prediction routes are literal paths, so that the hot way is one look-up. The entry point is `Routes.find`.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Scope

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route


class Routes:
    """The routes of the service. Of several with one method and path the first counts. GET's route answers HEAD too."""

    def __init__(self, routes: Sequence[Route]) -> None:
        paths: dict[str, dict[str, Route]] = {}
        for route in routes:
            paths.setdefault(route.path, {}).setdefault(route.method, route)
        self._literal = {(route.method, path): route for path in paths for route in paths[path].values()}
        literal_first = sorted(paths, key=lambda path: "{" in path)
        self._patterns = [(compile_path(path)[0], paths[path]) for path in literal_first]

    def find(self, scope: Scope) -> Route:
        """Return the route of a request, with the path's parameters in its scope, or one that refuses it."""
        path = scope["raw_path"].decode("latin-1")  # percent-encoded, so that an encoded slash is part of a parameter
        if (route := self._literal.get((scope["method"], path))) is not None:
            return route
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
