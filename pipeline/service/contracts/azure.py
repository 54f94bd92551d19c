"""Azure ML's contract: `POST /score` and `GET /`, as its own inference server has them; a deployment may name others.

The rows come in the form of its MLflow deployments (`{"input_data": {"columns", "index", "data"}}`, or `input_data` a
list of rows), or as `data` or `instances`, each a list of rows. Columns are taken by their names. The answer is
`{"predictions": […]}`, what is wrong with a bad row in its place. The entry point is `routes`.
"""

from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.service.calls import JSON, Call, Route
from pipeline.service.contracts.docs import frame_example, frame_in, predictions, rows_in
from pipeline.service.instances.forms import checked, media_type_among
from pipeline.service.instances.frames import (
    Frame,
    field_of,
    fields,
    null_for_nan,
    off_loop,
    only_one,
    predicted,
    probe,
    records,
    split,
)
from pipeline.service.instances.signature import Instances, Signature
from pipeline.service.model.current import Current
from pipeline.service.openapi import Schema, answer, content, operation
from pipeline.service.predict.predictor import Predictor
from pipeline.settings.service import Service

TAG = "Azure ML"
ROWS_IN = ("input_data", "data", "instances")


def routes(current: Current, predictor: Predictor, service: Service) -> list[Route]:
    """Return the routes of Azure ML's inference server."""
    described = partial(_described, service.rows)
    return [
        probe(current, "/", "Healthy\n", tag=TAG),
        Route("POST", "/score", partial(_score, current, predictor, service.rows), "predict", described),
    ]


async def _score(current: Current, predictor: Predictor, rows: int, call: Call) -> Response:
    serving = current.serving
    instances = await off_loop(call, lambda: _instances(call, serving.signature, rows))
    return await predicted(predictor, call, serving, instances)


def _instances(call: Call, signature: Signature, most_rows: int) -> Instances:
    media_type_among(call, JSON)
    found = signature.fast(call.content)
    if found is None:
        given = fields(null_for_nan(call.content))
        name = only_one(given, ROWS_IN)
        if "params" in given:
            field_of(given, "params", dict[str, Any] | None)  # there is nothing that a request could set
        if name == "input_data" and bytes(given[name]).startswith(b"{"):
            frame = field_of(given, name, Frame)
            found = split(signature, frame, most_rows=most_rows, on_error_row=True)
        else:
            rows = field_of(given, name, list[msgspec.Raw])
            found = records(signature, rows, most_rows=most_rows, on_error_row=True)
    return checked(found, most_rows)


def _described(most_rows: int, signature: Signature | None) -> Schema:
    rows = rows_in(signature, most_rows, bad_rows=True)
    body = {
        "type": "object",
        "properties": {
            "input_data": {"oneOf": [frame_in(signature, most_rows, bad_rows=True), rows]},
            "data": rows,
            "instances": rows,
            "params": {"type": ["object", "null"]},
        },
        "oneOf": [{"required": [name]} for name in ROWS_IN],
    }
    return operation(
        "Predict for Azure ML",
        tag=TAG,
        description="`params` are taken and change nothing. NaN is taken for null.",
        request={JSON: content(body, {"input_data": frame_example(signature)})},
        responses={200: answer("A prediction for each row, in order.", predictions(bad_rows=True)), 422: ""},
    )
