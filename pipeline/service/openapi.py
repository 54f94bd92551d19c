"""The service's description of itself, `/openapi.json`: OpenAPI 3.1, made from the routes and the model's signature.

Each route brings its operation: in code (`operation`, `content`, `answer`, …), or from a contract's YAML file (`load`).
Schemas come from msgspec types. What all routes have in common is added here: the front's errors in each route's own
form, headers, keys. The entry point is `document`; tests/service/test_openapi.py holds the service to it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import yaml

import pipeline
from pipeline.errors import RequestError
from pipeline.service.calls import Problem, Route, problem
from pipeline.service.instances.predictions import BadRow, Prediction
from pipeline.service.instances.signature import KEYS, Signature
from pipeline.settings import Settings
from pipeline.settings.service import LOOPBACK

Schema = dict[str, Any]
REF = "#/components/schemas/{name}"
REQUEST_ID = "01J9ZC2N7Q8W"
_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - it is YAML
)
_environment.filters["yaml"] = lambda value: yaml.dump(
    [value], Dumper=yaml.CSafeDumper, default_flow_style=True, width=2**30, sort_keys=False
)[1:-2]


def document(routes: Iterable[Route], signature: Signature | None, settings: Settings) -> Schema:
    """Return the description of a service.

    Parameters
    ----------
    routes
        Those that it has; one without an operation is left out.
    signature
        Of the model in charge; without one an instance is any object.
    settings
        Say whether keys are required, and whether a snapshot can complete an instance.
    """
    made = load("openapi.yaml", version=pipeline.__version__, company=settings.company)
    statuses, schemes = made.pop("statuses"), made["components"]["securitySchemes"]
    if settings.service.auth != "keys":
        del made["components"]["securitySchemes"]
    paths: dict[str, Schema] = {}
    for route in routes:
        given = route.operation(signature) if callable(route.operation) else route.operation
        if given is not None:
            path = route.path.replace(":path}", "}")  # OpenAPI knows no parameter with slashes
            whole = _whole(route, path, given, statuses, settings)
            if settings.service.auth == "keys":
                whole["security"] = [{name: []} for name in schemes] if route.scope else []
            paths.setdefault(path, {})[route.method.lower()] = whole
    schemas = made["components"]["schemas"]
    schemas |= _schemas(signature, can_complete=settings.service.model_folder is None)
    *_, made["paths"] = _without_types([Prediction, BadRow, paths], schemas)
    return made


def load(file: str, **values: Any) -> Schema:
    """Return what a YAML file of this folder holds, with values for its Jinja placeholders (`{{ name | yaml }}`)."""
    found: Schema = yaml.load(_environment.get_template(file).render(values), yaml.CSafeLoader)
    return found


def operation(
    summary: str,
    *,
    responses: Mapping[int, str | Schema],
    tag: str = "Predictions",
    description: str = "",
    request: Mapping[str, Schema] | None = None,
    parameters: Iterable[Schema] = (),
) -> Schema:
    """Return an operation object, for `Route.operation`.

    Parameters
    ----------
    summary, description
        What it does: in a line; in more words, as Markdown.
    responses
        By status: `answer(…)`; or the meaning of an error, which has the route's own form. The meaning may be empty:
        openapi.yaml has one. `document` adds the front's errors (401, 413, 503, …).
    tag
        The group it is listed in.
    request
        `content(…)` of the body, by media type.
    parameters
        `parameter(…)`; `document` adds those of the path that are not given.
    """
    found: Schema = {"summary": summary, "tags": [tag], "parameters": list(parameters), "responses": dict(responses)}
    if description:
        found["description"] = description
    if request:
        found["requestBody"] = {"required": True, "content": dict(request)}
    return found


def content(schema: Any, example: Any = None) -> Schema:
    """Return a media type object: a schema or a msgspec type, and an example (text if the media type is no JSON)."""
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def answer(
    description: str, body: Mapping[str, Schema] | None = None, headers: Mapping[str, Schema] | None = None
) -> Schema:
    """Return a response object: `content(…)` by media type (None: an empty body), and its own headers' schemas."""
    found: Schema = {"description": description}
    if body:
        found["content"] = dict(body)
    if headers:
        found["headers"] = {name: {"schema": schema, "required": True} for name, schema in headers.items()}
    return found


def parameter(
    name: str, description: str, schema: Schema | None = None, *, at: str = "query", required: bool = False
) -> Schema:
    """Return a parameter object; `at` is query, header or path."""
    found = {"name": name, "in": at, "description": description, "schema": schema or {"type": "string"}}
    return found | ({"required": True} if required or at == "path" else {})


def listed(items: Schema, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Schema:
    """Return the schema that `#/components/schemas` has by this name: `Instance`, `Row`, `Predictions`, …."""
    return {"$ref": REF.format(name=name)}


def _whole(
    route: Route, path: str, given: Mapping[str, Any], statuses: Mapping[int, str], settings: Settings
) -> Schema:
    """Return a route's operation with what all have in common."""
    parameters = given.get("parameters", [])
    named = {each["name"] for each in parameters if each["in"] == "path"}
    names = [name for name in re.findall(r"{(\w+)}", path) if name not in named]
    in_path = [parameter(name, f"{name.replace('_', ' ').capitalize()}.", at="path") for name in names]
    responses = dict.fromkeys(_of_the_front(route, settings), "") | given["responses"]
    return {
        **given,
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", path)]),
        "parameters": [*in_path, *parameters],
        "responses": {str(s): _response(route, s, responses[s] or statuses[s]) for s in sorted(responses)},
    }


def _of_the_front(route: Route, settings: Settings) -> set[int]:
    """Return the statuses that a request can get before, or instead of, the endpoint's response."""
    has_key = route.scope is not None and settings.service.auth == "keys"
    found = {
        401: has_key,
        403: has_key or route.method != "GET",  # from another site's page
        408: not route.is_streaming,
        413: route.method == "POST",
        415: route.method == "POST",
        421: settings.service.host in LOOPBACK,
        503: route.scope is not None,
    }
    return {400, 431, 500} | {status for status, may_be in found.items() if may_be}


def _response(route: Route, status: int, given: str | Schema) -> Schema:
    """Return a response object; for an error, of the form that the route itself gives to one."""
    found = given if isinstance(given, dict) else _error(route, status, given)
    names = ["X-Request-ID", *({503: ["Retry-After"], 401: ["WWW-Authenticate"]}.get(status, []))]
    shared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return found | {"headers": shared | found.get("headers", {})}


def _error(route: Route, status: int, meaning: str) -> Schema:
    sample = RequestError(status, meaning, "what this document says.", "see the error's own words.")
    form = problem if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE else route.error  # its route is not known
    made = form(sample, REQUEST_ID)
    media, body = made.headers["content-type"].partition(";")[0], bytes(made.body)
    if not media.endswith("json"):
        return answer(meaning, {media: content({"type": "string"}, body.decode())})
    example = msgspec.json.decode(body)
    texts = {"type": "object", "required": [*example], "properties": {name: {"type": "string"} for name in example}}
    return answer(meaning, {media: content(Problem if form is problem else texts, example)})


def _schemas(signature: Signature | None, *, can_complete: bool) -> Schema:
    """Return the schemas that depend on the model: `Instance`, and `Row`, which may also be a list of values."""
    if signature is None:
        return {"Instance": {"type": "object"}, "Row": {"type": ["object", "array"]}}
    (_, cells), found = msgspec.json.schema_components([signature.instance, signature.cells], ref_template=REF)
    instance = found["Instance"] | {"examples": [signature.example()]}
    row = {"anyOf": [{"allOf": [ref("Instance"), {"required": instance["required"]}]}, cells]}
    if can_complete:
        subject = {"required": [*KEYS], "properties": {name: {"type": "string"} for name in KEYS}}
        instance["anyOf"] = [{"required": instance.pop("required")}, subject]
    return {"Instance": instance, "Cells": cells, "Row": row}


def _without_types(part: Any, schemas: Schema) -> Any:
    """Return a part of the document with a schema in place of each type, whose components go to `schemas`."""
    if isinstance(part, Mapping):
        return {name: _without_types(value, schemas) for name, value in part.items()}
    if isinstance(part, list):
        return [_without_types(value, schemas) for value in part]
    if part is None or isinstance(part, str | int | float):
        return part
    schema, found = _schema_of(part)
    schemas.update(found)
    return schema


@lru_cache
def _schema_of(kind: Any) -> tuple[Schema, Schema]:
    (schema,), found = msgspec.json.schema_components([kind], ref_template=REF)
    return schema, found
