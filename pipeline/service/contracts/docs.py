"""How `/openapi.json` describes the forms of rows that several contracts share.

Entry points: `rows_in`, `lines_in`, `frame_in`, `predictions`, `told`.
"""

from typing import Any

from pipeline.models.bundle import Feature
from pipeline.service.calls import CSV, JSON, JSON_LINES, TEXT
from pipeline.service.instances.described import predictions_out
from pipeline.service.instances.signature import LARGEST, Signature
from pipeline.service.openapi import INSTANCE, Schema, answer, content, example_instance, listed, operation


def rows_in(signature: Signature | None, most_rows: int, *, bad_rows: bool = False) -> Schema:
    """Return the schema of rows: objects with every feature, or lists of values in the model's order.

    Parameters
    ----------
    signature
        Of the model in charge.
    most_rows
        Of a request.
    bad_rows
        Whether any other row is answered by an error in its place.
    """
    forms: list[Schema] = [{"type": ["object", "array"]}]
    if signature is not None:
        forms = [{"allOf": [INSTANCE, {"required": [*signature.names]}]}, _values(signature)]
    if bad_rows:
        forms.append({"description": "Anything else: an error stands in its place among the predictions."})
    return listed({"anyOf": forms}, minItems=1, maxItems=most_rows)


def lines_in(signature: Signature | None, most_rows: int) -> dict[str, Schema]:
    """Return the media types of a body whose rows are lines, or the instances of a JSON object."""
    example = example_instance(signature)
    envelope = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": rows_in(signature, most_rows, bad_rows=True)},
        "additionalProperties": False,
    }
    order = f"in the order {', '.join(signature.names)}" if signature else "in the model's order"
    return {
        JSON: content(envelope, {"instances": [example]}),
        CSV: content({"type": "string", "description": f"A row a line, {order}; an empty cell is missing."}),
        JSON_LINES: content({"type": "string", "description": f"A row a line: an object, or a list {order}."}),
    }


def frame_in(signature: Signature | None, most_rows: int, *, bad_rows: bool = False) -> Schema:
    """Return the schema of a split frame; arguments as of `rows_in`."""
    rows = rows_in(signature, most_rows, bad_rows=bad_rows)
    without = _object({"columns": {"type": "null"}, "data": rows})
    if signature is None:
        return without
    columns = {
        "type": "array",
        "prefixItems": [{"const": name} for name in signature.names],
        "minItems": len(signature.names),
        "maxItems": len(signature.names),
        "description": "In any order: a cell is that of its column's name.",
    }
    data = listed({} if bad_rows else _values(signature), minItems=1, maxItems=most_rows)
    return {"anyOf": [_object({"columns": columns, "data": data}, "columns"), without]}


def frame_example(signature: Signature | None) -> Schema:
    """Return a split frame that a model takes."""
    example = example_instance(signature)
    return {"columns": [*example], "index": [0], "data": [[*example.values()]]}


def predictions(*, bad_rows: bool) -> dict[str, Schema]:
    """Return the answer's media type: `{"predictions": […]}`."""
    return {JSON: predictions_out(bad_rows=bad_rows)[JSON]}


def told(summary: str, body: str, *, tag: str) -> Schema:
    """Return the operation of a GET that answers plain text."""
    text = {TEXT.partition(";")[0]: content({"type": "string"}, body)} if body else None
    return operation(summary, tag=tag, responses={200: answer(f"{summary}.", text)})


def value_of(feature: Feature) -> Schema:
    """Return the schema of a feature's value."""
    if feature.kind == "category":
        return {"type": ["string", "null"]}
    return {"type": ["number", "boolean", "null"], "minimum": -LARGEST, "maximum": LARGEST}


def _values(signature: Signature) -> Schema:
    cells: list[dict[str, Any]] = [value_of(feature) for feature in signature.features]
    return {"type": "array", "prefixItems": cells, "minItems": len(cells), "maxItems": len(cells)}


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    index: Schema = {"type": ["array", "null"]}
    return {"type": "object", "required": [*required, "data"], "properties": {**properties, "index": index}}
