"""Google Vertex AI's contract: the health and predict routes that its environment variables name.

`{"instances": […], "parameters": {…}}` is answered by `{"predictions": […]}` of the same length: what is wrong with a
bad instance stands in its place. An instance is an object, or, as batch predictions from CSV and BigQuery have it, a
list of values in the model's order. The entry point is `routes`.
"""

import os
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.service.calls import JSON, Call, Route
from pipeline.service.contracts.docs import predictions, rows_in
from pipeline.service.contracts.platforms import vertex_paths
from pipeline.service.instances.forms import checked, media_type_among
from pipeline.service.instances.frames import field_of, fields, off_loop, only_one, predicted, probe, records
from pipeline.service.instances.signature import Instances, Signature
from pipeline.service.model.current import Current
from pipeline.service.openapi import Schema, answer, content, example_instance, operation
from pipeline.service.predict.predictor import Predictor
from pipeline.settings.service import Service

TAG = "Vertex AI"


def routes(current: Current, predictor: Predictor, service: Service) -> list[Route]:
    """Return the routes that Vertex AI asks for.

    Raises
    ------
    ConfigError
        If the environment names what is no path.
    """
    health, predict = vertex_paths(os.environ)
    described = partial(_described, service.rows)
    return [
        probe(current, health, "ok\n", tag=TAG),
        Route("POST", predict, partial(_predict, current, predictor, service.rows), "predict", described),
    ]


async def _predict(current: Current, predictor: Predictor, rows: int, call: Call) -> Response:
    serving = current.serving
    instances = await off_loop(call, lambda: _instances(call, serving.signature, rows))
    return await predicted(predictor, call, serving, instances)


def _instances(call: Call, signature: Signature, most_rows: int) -> Instances:
    media_type_among(call, JSON)
    found = signature.fast(call.content)
    if found is None:
        given = fields(call.content)
        if "parameters" in given:
            field_of(given, "parameters", dict[str, Any] | None)  # there is nothing that a request could set
        rows = field_of(given, only_one(given, ["instances"]), list[msgspec.Raw])
        found = records(signature, rows, most_rows=most_rows, on_error_row=True)
    return checked(found, most_rows)


def _described(most_rows: int, signature: Signature | None) -> Schema:
    body = {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": rows_in(signature, most_rows, bad_rows=True),
            "parameters": {"type": ["object", "null"]},
        },
    }
    return operation(
        "Predict for Vertex AI",
        tag=TAG,
        description="`parameters` are taken and change nothing.",
        request={JSON: content(body, {"instances": [example_instance(signature)]})},
        responses={200: answer("A prediction for each instance, in order.", predictions(bad_rows=True)), 422: ""},
    )
