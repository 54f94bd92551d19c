"""The API's description for people, `/docs`: the OpenAPI document as a page that loads nothing and needs no script.

`docs.html` walks the document; the line for curl is made here. Entry points: `routes`, and `curl` for the form's page.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
from operator import getitem
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.service.calls import Call, Route
from pipeline.service.pages.html import as_page, error_page, rendered
from pipeline.service.thread_pools import pages
from pipeline.settings import Settings

Json = Mapping[str, Any]
MOST_INLINE = 500
"""A longer example is sent from a file in the line for curl."""
FILES = {"application/json": "rows.json", "text/csv": "rows.csv"}
ADDRESS = "[service.invalid]"
"""Where the page that is kept has this, each response has the host of its request. Brackets have it quoted."""
PLAIN_HOST = re.compile(rb"[A-Za-z0-9.:_\[\]-]+")
"""Needs no escaping, neither in the page nor between a shell's quotes."""


def routes(settings: Settings, document: Callable[[], bytes]) -> list[Route]:
    """Return the route of the page; `document` returns the OpenAPI document for the model in charge as JSON."""
    page = lru_cache(maxsize=1)(partial(_page, settings))  # it takes 20 ms, so it is made once for a model

    async def show(call: Call) -> Response:
        text = await pages(page, document())
        host = call.fields.get(b"host", b"")
        return as_page(text.replace(ADDRESS, host.decode() if PLAIN_HOST.fullmatch(host) else "127.0.0.1"))

    return [Route("GET", "/docs", show, error=error_page(settings))]


def curl(url: str, method: str = "POST", media: str = "", body: str = "", *, needs_key: bool) -> str:
    """Return a line that can be pasted into a shell; it takes the key from the variable KEY."""
    words = ["curl"]
    if method not in {"GET", "POST"} or (method == "POST" and not media):
        words += ["-X", method]
    words.append(shlex.quote(url))
    if needs_key:
        words.append('-H "authorization: Bearer $KEY"')
    if media:
        words += ["-H", shlex.quote(f"content-type: {media}"), "--data-binary", shlex.quote(body)]
    return " ".join(words)


def _page(settings: Settings, content: bytes) -> str:
    document: Json = msgspec.json.decode(content)
    groups: dict[str, list[Json]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            contents = _resolved(document, operation.get("requestBody", {})).get("content", {})
            line = _curl(method.upper(), path, contents, needs_key=bool(operation.get("security")))
            one = {**operation, "method": method.upper(), "path": path, "contents": contents, "curl": line}
            groups.setdefault(operation["tags"][0], []).append(one)
    return rendered(
        settings,
        "docs.html",
        info=document["info"],
        groups=groups,
        components=document["components"],
        resolved=partial(_resolved, document),
        example=_example,
    )


def _resolved(document: Json, part: Json) -> Json:
    """Return a part of the document, or what it refers to."""
    while "$ref" in part:
        part = reduce(getitem, part["$ref"].removeprefix("#/").split("/"), document)
    return part


def _curl(method: str, path: str, contents: Json, *, needs_key: bool) -> str:
    """Return the line that asks this with the first example; the path's parameters are in capitals."""
    media, content = next(iter(contents.items()), ("", {}))
    body = _example(content, indent=None)
    if not body or len(body) > MOST_INLINE:
        body = f"@{FILES.get(media, 'rows')}"
    path = re.sub(r"{(\w+)}", lambda found: found[1].upper(), path)
    return curl(f"http://{ADDRESS}{path}", method, media, body, needs_key=needs_key)


def _example(content: Json, indent: int | None = 1) -> str:
    """Return the example of a media type object as text; empty if it has none."""
    named: Json = next(iter(content.get("examples", {}).values()), {})
    example = content.get("example", named.get("value"))
    if example is None or isinstance(example, str):
        return example or ""
    return json.dumps(example, indent=indent, ensure_ascii=False)
