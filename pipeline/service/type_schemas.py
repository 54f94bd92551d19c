"""How `/openapi.json` describes a type that msgspec encodes. The one entry point is `json_content`."""

from typing import Any

import msgspec

from pipeline.service.calls import JSON
from pipeline.service.openapi import Schema, content


def json_content(kind: Any) -> dict[str, Schema]:
    """Return the content, in JSON, of a body of this type: its schema, and the example of its fields' examples."""
    (schema,), parts = msgspec.json.schema_components([kind])
    whole = _whole(schema, parts)
    return {JSON: content(whole, _example(whole))}


def _whole(schema: Any, parts: dict[str, Any]) -> Any:
    """Return a schema with the schemas of its parts in place of references."""
    if isinstance(schema, list):
        return [_whole(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _whole(part, parts) for name, part in schema.items()}


def _example(schema: Schema) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("type") == "array":
        return [_example(schema["items"])]
    known = {"examples", "properties", "items"}
    return {name: _example(part) for name, part in schema["properties"].items() if known & part.keys()}
