"""The service's description of itself, `/openapi.json`: OpenAPI 3.1, made from the routes and the model's signature.

Each route brings its operation (`operation`, with `content` and `answer` for its parts). What the routes have in common
is added here, so that it is said once: the errors that the front answers with, in each route's own form, their headers,
the keys, the schemas. The entry point is `document`; tests/service/test_openapi.py holds the service to what it says.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

import pipeline
from pipeline.errors import RequestError
from pipeline.models.bundle import Feature
from pipeline.service.calls import Route, problem
from pipeline.service.instances.signature import KEYS, LARGEST, Signature
from pipeline.settings import Settings
from pipeline.settings.service import LOOPBACK

Schema = dict[str, Any]
INSTANCE: Schema = {"$ref": "#/components/schemas/Instance"}
"""A request's instance, as the model in charge wants it."""
KEYS_SAY = "Of whom and what it is about: for an A/B test, the record, and to have other features completed."
MOST_NAMED = 20
REQUEST_ID = "01J9ZC2N7Q8W"
KEYS_GO: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, `barometer keys create` makes it."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "browser": {"type": "http", "scheme": "basic", "description": "Any user, the API key as the password."},
}
SAYS = {
    400: "The request is malformed.",
    401: "The API key is absent, unknown or expired.",
    403: "The API key is not allowed this, or the request comes from another site.",
    404: "There is no such thing.",
    406: "None of the media types that `Accept` asks for can be answered.",
    408: "The body took too long to arrive.",
    409: "The thing's state does not allow this.",
    413: "The body is too large, or has too many rows.",
    415: "The body's media type or encoding is not one that is understood.",
    421: "The host is not one that this service answers for.",
    422: "The body is well-formed and wrong: `row` and `field` say where.",
    431: "The headers are too large.",
    500: "The service failed; its log says why, by the request's id.",
    501: "Not available as this service is set up.",
    503: "Not now: too many requests at once, or no model is in charge yet.",
}
"""What an error's status means, where the operation does not say more."""
HEADERS: dict[str, tuple[str, Schema]] = {
    "X-Request-ID": ("The request's own id if it is a good one, else a new one; the log has it.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before asking again.", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("How to give a key.", {"type": "string"}),
}


def document(routes: Iterable[Route], signature: Signature | None, settings: Settings) -> Schema:
    """Return the description of a service.

    Parameters
    ----------
    routes
        Those that it has; one without an operation is left out.
    signature
        Of the model in charge; without one an instance is just an object.
    settings
        Say whether keys are required, and whether a snapshot can complete an instance.
    """
    paths: dict[str, Schema] = {}
    for route in routes:
        made = route.operation(signature) if callable(route.operation) else route.operation
        if made is not None:
            paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, dict(made), settings)
    components: Schema = {
        "schemas": {"Instance": _instance(signature, settings)},
        "headers": {name: {"description": says, "schema": schema} for name, (says, schema) in HEADERS.items()},
    }
    if _keys_required(settings):
        components["securitySchemes"] = KEYS_GO
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Barometer",
            "version": pipeline.__version__,
            "summary": f"How satisfied customers of {settings.company} are likely to be.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    }


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
    summary
        What it does, in a line.
    responses
        By status: `answer(…)`, or for an error its meaning alone: its body is the route's own form of error. An error's
        meaning may be empty: then it is that of `SAYS`. What the front answers to every request (401, 413, 503, …) is
        added by `document`.
    tag
        The group it is listed in.
    description
        More, as Markdown.
    request
        By media type, `content(…)` of the body.
    parameters
        Of the query and header, `parameter(…)`. Those of the path are added by `document`, as text, unless given.

    Examples
    --------
    A route of a contract, its example made from the model's signature::

        def _score(signature: Signature | None) -> Schema:
            rows = {"type": "object", "required": ["instances"], "properties": {"instances": listed(INSTANCE)}}
            found = {"type": "object", "required": ["predictions"], "properties": {"predictions": listed({})}}
            return operation(
                "Predict",
                request={JSON: content(rows, {"instances": [example_instance(signature)]})},
                responses={200: answer("A prediction for each instance.", {JSON: content(found)}), 422: ""},
            )

        Route("POST", "/score", handle, "predict", _score, error=azure_error)
    """
    found: Schema = {"summary": summary, "tags": [tag], "parameters": list(parameters), "responses": dict(responses)}
    if description:
        found["description"] = description
    if request:
        found["requestBody"] = {"required": True, "content": dict(request)}
    return found


def content(schema: Schema, example: Any = None) -> Schema:
    """Return a media type object: the schema, and an example (text where the media type is no JSON)."""
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


def example_instance(signature: Signature | None) -> Schema:
    """Return an instance that a model takes; empty when there is no model."""
    return {feature.name: _example(feature) for feature in signature.features} if signature else {}


def _keys_required(settings: Settings) -> bool:
    return settings.service.auth == "keys"


def _operation(route: Route, made: Schema, settings: Settings) -> Schema:
    """Return a route's own operation with what all have in common."""
    named = {given["name"] for given in made["parameters"] if given["in"] == "path"}
    path = [
        parameter(name, _in_words(name), at="path")
        for name in re.findall(r"{(\w+)}", _path(route))
        if name not in named
    ]
    statuses = made["responses"] | {s: "" for s in _of_the_front(route, settings) if s not in made["responses"]}
    responses = {str(status): _response(route, status, statuses[status]) for status in sorted(statuses)}
    found = made | {"operationId": _id(route), "parameters": [*path, *made["parameters"]], "responses": responses}
    if _keys_required(settings):
        found["security"] = [{name: []} for name in KEYS_GO] if route.scope else []
    return found


def _path(route: Route) -> str:
    """Return the path as OpenAPI writes it, which knows no parameter with slashes."""
    return route.path.replace(":path}", "}")


def _of_the_front(route: Route, settings: Settings) -> set[int]:
    """Return the statuses that a request can get before, or instead of, the handler's answer."""
    found = {400, 431, 500}
    if settings.service.host in LOOPBACK:
        found |= {421}
    if not route.is_streaming:
        found |= {408}
    if route.scope:
        found |= {401, 403, 503} if _keys_required(settings) else {503}
    if route.method != "GET":
        found |= {403}  # from another site's page
    if route.method == "POST":
        found |= {413, 415}
    return found


def _response(route: Route, status: int, said: str | Schema) -> Schema:
    """Return a response object; for an error, of the form that the route itself gives to one."""
    found = dict(said) if isinstance(said, dict) else _error(route, status, said or SAYS[status])
    names = ["X-Request-ID", *({503: ["Retry-After"], 401: ["WWW-Authenticate"]}.get(status, []))]
    shared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return found | {"headers": shared | found.get("headers", {})}


def _error(route: Route, status: int, says: str) -> Schema:
    sample = RequestError(status, says, "what this document says.", "see the error's own words.")
    form = problem if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE else route.error  # its route is not known
    made = form(sample, REQUEST_ID)
    media = made.headers["content-type"].partition(";")[0]
    if not media.endswith("json"):
        return answer(says, {media: content({"type": "string"}, bytes(made.body).decode())})
    example = msgspec.json.decode(made.body)
    return answer(says, {media: content(_like(example, row_and_field=form is problem), example)})


def _like(example: Mapping[str, Any], *, row_and_field: bool) -> Schema:
    """Return the schema of objects with these fields."""
    kinds = {str: "string", int: "integer", dict: "object"}
    properties: Schema = {name: {"type": kinds[type(value)]} for name, value in example.items()}
    if row_and_field:
        properties |= {"row": {"type": "integer", "minimum": 0}, "field": {"type": "string"}}
    return {"type": "object", "required": [*example], "properties": properties}


def _instance(signature: Signature | None, settings: Settings) -> Schema:
    """Return the schema of an instance: what `Signature` accepts."""
    if signature is None:
        return {"type": "object"}
    keys: Schema = {name: {"type": ["string", "null"], "description": KEYS_SAY} for name in KEYS}
    found: Schema = {
        "type": "object",
        "properties": {feature.name: _feature(feature) for feature in signature.features} | keys,
        "additionalProperties": False,
        "required": [*signature.names],
        "examples": [example_instance(signature)],
    }
    if settings.service.model_folder is None:
        subject = {"required": [*KEYS], "properties": {name: {"type": "string"} for name in KEYS}}
        found["anyOf"] = [{"required": found.pop("required")}, subject]
    return found


def _feature(feature: Feature) -> Schema:
    if feature.kind == "number":
        bounds = {"minimum": -LARGEST, "maximum": LARGEST}
        return {"type": ["number", "boolean", "null"], **bounds, "examples": [_example(feature), None]}
    known = ", ".join(feature.categories[:MOST_NAMED])
    return {
        "type": ["string", "null"],
        "description": f"Met in training: {known}. Others count as unseen, null as missing.",
        "examples": [_example(feature), None],
    }


def _example(feature: Feature) -> Any:
    if feature.kind == "number":
        return 1.0
    return feature.categories[0] if feature.categories else "a"


def _in_words(name: str) -> str:
    return name.replace("_", " ").capitalize() + "."


def _id(route: Route) -> str:
    """Return a name for programs made from the document: `get_predictions_customer_id_product_id`."""
    return "_".join([route.method.lower(), *re.findall(r"\w+", _path(route))])
