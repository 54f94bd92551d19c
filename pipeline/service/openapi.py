"""The service's description of itself, `/openapi.json`: OpenAPI 3.1, made from the routes and the model's signature.

The routes of a module are described in the YAML file beside it (`described`); schemas of our own types come from
msgspec. What all routes have in common is added here: the front's errors in each route's own form, headers, keys.
The entry point is `document`; tests/service/test_openapi.py holds the service to it.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import yaml

import pipeline
from pipeline.errors import RequestError
from pipeline.manifests import KEYS
from pipeline.service.calls import Paths, Problem, Route, problem
from pipeline.service.instances.predictions import EXAMPLE, BadRow, Prediction
from pipeline.service.instances.signature import LARGEST, Signature
from pipeline.settings import Settings
from pipeline.settings.service import LOOPBACK

Schema = dict[str, Any]
REF = "#/components/schemas/{name}"
REQUEST_ID = "01J9ZC2N7Q8W"


def document(routes: Iterable[Route], signature: Signature | None, settings: Settings) -> Schema:
    """Return the description of these routes for the model in charge; without one an instance is any object."""
    made = _load("openapi.yaml", version=pipeline.__version__, company=settings.company)
    statuses, schemes = made.pop("statuses"), made["components"]["securitySchemes"]
    if settings.service.auth != "keys":
        del made["components"]["securitySchemes"]
    made["components"]["schemas"] |= _schemas(signature, can_complete=settings.service.model_folder is None)
    paths: dict[str, Schema] = {}
    for route in routes:
        if route.paths is not None:
            whole = _whole(route, route.paths(signature)[route.path][route.method.lower()], statuses, settings)
            if settings.service.auth == "keys":
                whole["security"] = [{name: []} for name in schemes] if route.scope else []
            paths.setdefault(route.path, {})[route.method.lower()] = whole
    return made | {"paths": paths}


def described(file: str, **values: Any) -> Paths:
    """Return a function from a model's signature to the paths in a YAML file of this folder, for `Route.paths`.

    The file is a Jinja template with `values` and the facts that `load` adds. The filter `yaml` writes a value, `body`
    the schema and example of a msgspec type. A response that is only a text is an error in the route's own form; for an
    empty text, openapi.yaml has one.
    """

    @lru_cache(maxsize=1)
    def load(signature: Signature | None) -> Schema:
        facts = {
            "features": signature.features if signature else [],
            "names": [*signature.names] if signature else [],
            "example": signature.example() if signature else {},
            "prediction": msgspec.to_builtins(EXAMPLE),
            "largest": LARGEST,
        }
        paths: Schema = _load(file, **facts, **values)["paths"]
        return paths

    return load


def _load(file: str, **values: Any) -> Schema:
    found: Schema = yaml.load(_environment.get_template(file).render(values), yaml.CSafeLoader)
    return found


def _yaml(value: Any) -> str:
    """Return a value in one line of YAML."""
    options = {"default_flow_style": True, "width": 2**30, "sort_keys": False}
    return str(yaml.dump([value], Dumper=yaml.CSafeDumper, **options))[1:-2]


def _body(kind: Any) -> str:
    """Return the schema of a type, without references, and the example that its fields' examples make."""
    (schema,), parts = msgspec.json.schema_components([kind])
    schema = _inline(schema, parts)
    return _yaml({"schema": schema, "example": deepcopy(_example(schema))})  # a copy, lest YAML refer to what is shared


def _inline(schema: Any, parts: Schema) -> Any:
    """Return a schema with the schemas of its parts in place of references."""
    if isinstance(schema, list):
        return [_inline(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _inline(part, parts) for name, part in schema.items()}


def _example(schema: Schema) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("type") == "array":
        return [_example(schema["items"])]
    known = {"examples", "properties", "items"}
    return {name: _example(part) for name, part in schema["properties"].items() if known & part.keys()}


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - it is YAML
)
_environment.filters |= {"yaml": _yaml, "body": _body}


def _schemas(signature: Signature | None, *, can_complete: bool) -> Schema:
    """Return the schemas that contracts share, and `Instance` and `Row` of the model; a row may be a list of values."""
    _, found = msgspec.json.schema_components([Prediction, BadRow, Problem], ref_template=REF)
    if signature is None:
        return found | {"Instance": {"type": "object"}, "Row": {"type": ["object", "array"]}}
    (ref, cells), of_the_model = msgspec.json.schema_components([signature.instance, signature.cells], ref_template=REF)
    instance = of_the_model["Instance"] | {"examples": [signature.example()]}
    row = {"anyOf": [{"allOf": [ref, {"required": instance["required"]}]}, cells]}
    if can_complete:
        subject = {"required": [*KEYS], "properties": {name: {"type": "string"} for name in KEYS}}
        instance["anyOf"] = [{"required": instance.pop("required")}, subject]
    return found | {"Instance": instance, "Cells": cells, "Row": row}


def _whole(route: Route, given: Mapping[str, Any], statuses: Mapping[int, str], settings: Settings) -> Schema:
    """Return a route's operation with what all have in common."""
    parameters = given.get("parameters", [])
    named = {each["name"] for each in parameters if each["in"] == "path"}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        | {"description": f"{name.replace('_', ' ').capitalize()}."}
        for name in re.findall(r"{(\w+)}", route.path)
        if name not in named
    ]
    responses = dict.fromkeys(_of_the_front(route, settings), "") | given["responses"]
    return {
        **given,
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", route.path)]),
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
        return {"description": meaning, "content": {media: {"schema": {"type": "string"}, "example": body.decode()}}}
    example = msgspec.json.decode(body)
    schema = {"type": "object", "required": [*example], "properties": {name: {"type": "string"} for name in example}}
    if form is problem:
        schema = {"$ref": REF.format(name="Problem")}
    return {"description": meaning, "content": {media: {"schema": schema, "example": example}}}
