"""Google Vertex AI's contract: the health and predict routes that its environment variables name.

`{"instances": […], "parameters": {…}}` is answered by `{"predictions": […]}` of the same length, with an error in a bad
instance's place. An instance is an object, or, as batch predictions from CSV and BigQuery have it, a list of values in
the model's order. The entry point is `routes`.
"""

import os
from typing import Any

import msgspec

from pipeline.service.calls import JSON, Call, Route
from pipeline.service.contracts.platforms import vertex_paths
from pipeline.service.contracts.standard import Standard
from pipeline.service.instances.bodies import media_type_among
from pipeline.service.instances.rows import Absent, Reader, Rows
from pipeline.service.instances.signature import Instances


def routes(standard: Standard) -> list[Route]:
    """Return the routes that Vertex AI asks for."""
    health, predict = vertex_paths(os.environ)
    vertex = standard.described("vertex", health=health, predict=predict)
    return [vertex.get(health, "ok\n", needs_model=True), vertex.predictions(predict, read, on_error_row=True)]


class Body(msgspec.Struct):
    """A request."""

    instances: Rows | Absent = msgspec.UNSET
    parameters: dict[str, Any] | None = None


def read(call: Call, reader: Reader) -> Instances:
    """Return the instances of a request."""
    media_type_among(call, JSON)
    return reader.json(call.content, Body)
