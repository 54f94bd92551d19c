"""The API's description for people, `/docs`: the OpenAPI document as one page that loads nothing and needs no script.

The entry point is `routes`.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any

from starlette.responses import Response

from pipeline.service.calls import Call, Route
from pipeline.service.latest import Latest
from pipeline.service.pages.html import answered, error_page
from pipeline.service.thread_pools import pages
from pipeline.settings import Settings

Json = Mapping[str, Any]
FIRST_ERROR = 400
MOST_INLINE = 500
"""A longer example is sent from a file in the line for curl."""
FILES = {"application/json": "rows.json", "text/csv": "rows.csv"}
OTHER = "Other"
ADDRESS = "service.invalid"
"""Stands in the page that is kept where each answer has the host that was asked."""
PLAIN_HOST = re.compile(rb"[A-Za-z0-9.:_\[\]-]+")
"""What needs no escaping, neither in the page nor between a shell's quotes."""


def routes(settings: Settings, document: Callable[[], Json]) -> list[Route]:
    """Return the route of the page.

    Parameters
    ----------
    settings
        The settings.
    document
        Makes the OpenAPI document of the routes and the model in charge.
    """
    made: Latest[Json, Response] = Latest(partial(_page, settings))
    return [Route("GET", "/docs", partial(_show, document, made), error=error_page(settings))]


async def _show(document: Callable[[], Json], made: Latest[Json, Response], call: Call) -> Response:
    """Answer the page, which takes 20 ms to make and is open to everybody, so that it is made once."""
    described = document()
    page = made.known(described)
    if page is None:
        page = await pages(made.of, described)
    host = call.fields.get(b"host", b"")
    if not PLAIN_HOST.fullmatch(host):
        host = b"127.0.0.1"
    body = bytes(page.body).replace(ADDRESS.encode(), host)
    headers = {name: value for name, value in page.headers.items() if name != "content-length"}
    return Response(body, headers=headers)


def _page(settings: Settings, described: Json) -> Response:
    operations = sorted(_operations(described), key=lambda operation: operation["tag"] == OTHER)
    tags = list(dict.fromkeys(operation["tag"] for operation in operations))
    by_tag = groupby(sorted(operations, key=lambda o: tags.index(o["tag"])), key=lambda o: o["tag"])
    return answered(
        settings,
        "docs.html",
        info=described["info"],
        groups=[(tag, list(group)) for tag, group in by_tag],
        keys=described.get("components", {}).get("securitySchemes", {}),
        features=_features(described),
    )


def _operations(document: Json) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = [_answer(status, response, document) for status, response in operation["responses"].items()]
            body = _resolved(operation.get("requestBody", {}), document)
            examples = _examples(body)
            yield {
                "id": re.sub(r"\W+", "-", f"{method}{path}").strip("-"),
                "method": method.upper(),
                "path": path,
                "tag": next(iter(operation.get("tags", [])), OTHER),
                "summary": operation.get("summary", ""),
                "description": operation.get("description", ""),
                "parameters": [_parameter(_resolved(p, document)) for p in operation.get("parameters", [])],
                "bodies": examples,
                "answers": [answer for answer in answers if int(answer["status"]) < FIRST_ERROR],
                "errors": [answer for answer in answers if int(answer["status"]) >= FIRST_ERROR],
                "curl": _curl(method.upper(), path, examples, needs_key=bool(operation.get("security"))),
            }


def _answer(status: str, response: Json, document: Json) -> dict[str, Any]:
    response = _resolved(response, document)
    return {"status": status, "description": response["description"], "bodies": _examples(response)}


def _examples(holder: Json) -> list[tuple[str, str | None]]:
    """Return the media types of a body, each with an example as text (None: there is none)."""
    return [(media, _shown(_example(content))) for media, content in holder.get("content", {}).items()]


def _example(content: Json) -> Any:
    if "example" in content:
        return content["example"]
    named: Json = next(iter(content.get("examples", {}).values()), {})
    return named.get("value")


def _shown(example: Any) -> str | None:
    if example is None or isinstance(example, str):
        return example
    return json.dumps(example, indent=1, ensure_ascii=False)


def _parameter(given: Json) -> dict[str, Any]:
    schema = given.get("schema", {})
    kinds = schema.get("enum") or schema.get("type", "")
    kind = " or ".join(map(str, kinds)) if isinstance(kinds, list) else kinds
    return {**given, "kind": kind, "default": schema.get("default"), "required": given.get("required", False)}


def _features(document: Json) -> list[dict[str, Any]]:
    """Return the fields of an instance."""
    instance = document.get("components", {}).get("schemas", {}).get("Instance", {})
    return [
        {
            "name": name,
            "kind": " or ".join(kinds) if isinstance(kinds := schema.get("type", ""), list) else kinds,
            "description": schema.get("description", ""),
        }
        for name, schema in instance.get("properties", {}).items()
    ]


def _resolved(part: Json, document: Json) -> Json:
    """Return what a reference of the document stands for, or the part itself."""
    while "$ref" in part:
        names = part["$ref"].removeprefix("#/").split("/")
        part = document
        for name in names:
            part = part[name]
    return part


def _curl(method: str, path: str, bodies: list[tuple[str, str | None]], *, needs_key: bool) -> str:
    """Return a line that can be pasted into a shell, the path's parameters in capitals."""
    path = re.sub(r"{(\w+)}", lambda found: found[1].upper(), path)
    words = ["curl", *([] if method in {"GET", "POST"} else ["-X", method]), f"'http://{ADDRESS}{path}'"]
    if needs_key:
        words.append('-H "authorization: Bearer $KEY"')
    if bodies:
        media, example = bodies[0]
        compact = _compact(media, example)
        sent = f"@{FILES.get(media, 'rows')}" if compact is None or len(compact) > MOST_INLINE else compact
        words += ["-H", shlex.quote(f"content-type: {media}"), "--data-binary", shlex.quote(sent)]
    elif method == "POST":
        words += ["-X", "POST"]
    return " ".join(words)


def _compact(media: str, example: str | None) -> str | None:
    if example is None or not media.endswith("/json"):
        return example
    return json.dumps(json.loads(example), ensure_ascii=False)
