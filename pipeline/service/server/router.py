"""Which route answers a path. The entry point is `Router`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from pipeline.service.server.calls import Route


@dataclass(frozen=True, slots=True)
class Match:
    """The route of a request, or none and which methods its path has."""

    route: Route | None
    parameters: Mapping[str, str]
    methods: tuple[str, ...] = ()


class Router:
    """Finds routes: literal paths by one look into a dict, others by their patterns; of several the first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._literal: dict[tuple[str, str], Match] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in self.routes:
            if "{" in route.path:
                self._patterns.append((_pattern(route.path), route))
            else:
                self._literal.setdefault((route.method, route.path), Match(route, {}))

    def find(self, method: str, raw_path: str) -> Match:
        """Return the match of a request.

        Parameters
        ----------
        method
            HEAD is answered by GET's route.
        raw_path
            Still percent-encoded, so that an encoded slash is part of a parameter.
        """
        method = "GET" if method == "HEAD" else method
        found = self._literal.get((method, raw_path))
        if found is not None:
            return found
        fitting = [(m, route) for pattern, route in self._patterns if (m := pattern.fullmatch(raw_path))]
        for matched, route in fitting:
            if route.method == method:
                return Match(route, {name: unquote(value) for name, value in matched.groupdict().items()})
        methods = {known for known, path in self._literal if path == raw_path} | {r.method for _, r in fitting}
        return Match(None, {}, tuple(sorted(methods | ({"HEAD"} if "GET" in methods else set()))))


def _pattern(path: str) -> re.Pattern[str]:
    """Return what matches a path; `{name:path}`, at its end, takes slashes too."""
    parts = re.split(r"\{(\w+)(:path)?\}", path)  # text, name, :path or None, text, …
    pattern = re.escape(parts[0])
    for name, takes_slashes, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.*' if takes_slashes else '[^/]+'}){re.escape(text)}"
    return re.compile(pattern)
