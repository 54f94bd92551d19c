"""Azure ML's contract: `POST /score` and `GET /`, as its own inference server has them; a deployment may name others.

The rows come in the form of its MLflow deployments (`{"input_data": {"columns", "index", "data"}}`, or `input_data` a
list of rows), or as `data` or `instances`, each a list of rows. Columns are taken by their names. The answer is
`{"predictions": […]}`, with an error in a bad row's place. The entry point is `routes`.
"""

from typing import Any

import msgspec

from pipeline.service.calls import JSON, Call, Route
from pipeline.service.contracts.standard import Standard
from pipeline.service.instances.bodies import media_type_among, null_for_nan
from pipeline.service.instances.rows import Absent, Frame, Reader, Rows
from pipeline.service.instances.signature import Instances


def routes(standard: Standard) -> list[Route]:
    """Return the routes of Azure ML's inference server."""
    azure = standard.described("azure")
    return [azure.get("/", "Healthy\n", needs_model=True), azure.predictions("/score", read, on_error_row=True)]


class Body(msgspec.Struct):
    """A request; one of its fields holds the rows."""

    input_data: Frame | Rows | Absent = msgspec.UNSET
    data: Rows | Absent = msgspec.UNSET
    instances: Rows | Absent = msgspec.UNSET
    params: dict[str, Any] | None = None


def read(call: Call, reader: Reader) -> Instances:
    """Return the instances of a request."""
    media_type_among(call, JSON)
    return reader.json(null_for_nan(call.content), Body)
