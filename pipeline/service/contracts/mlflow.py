"""MLflow's scoring protocol: `/invocations`, `/ping`, `/health`, `/version`.

The predictions are a list of objects, so that MLflow's own client makes a frame of them (`get_predictions()`) with the
columns satisfaction, satisfied, model_version, role and words, a row for each row that was sent. A bad row refuses the
request, as in MLflow. The entry point is `routes`.
"""

from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, TEXT, Call, Route, as_json
from pipeline.service.contracts.docs import frame_example, frame_in, predictions, rows_in, told
from pipeline.service.instances.forms import cells, checked, limited, media_type_among
from pipeline.service.instances.frames import (
    Fields,
    Frame,
    by_column,
    field_of,
    fields,
    in_words,
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

MLFLOW = "3.17.2"
"""The version of MLflow whose scoring server this speaks like; clients ask for it."""
TAG = "MLflow"
ROWS_IN = ("dataframe_split", "dataframe_records", "instances", "inputs")
ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's names for statuses; every other one is a BAD_REQUEST."""


def routes(current: Current, predictor: Predictor, service: Service) -> list[Route]:
    """Return the routes of MLflow's scoring server."""
    described = partial(_described, service.rows)
    return [
        probe(current, "/ping", "\n", tag=TAG, error=_error),
        probe(current, "/health", "\n", tag=TAG, error=_error),
        Route("GET", "/version", _version, operation=told("The MLflow this is like", MLFLOW, tag=TAG), error=_error),
        Route(
            "POST",
            "/invocations",
            partial(_invocations, current, predictor, service.rows),
            "predict",
            described,
            error=_error,
        ),
    ]


async def _version(_call: Call) -> Response:
    return Response(MLFLOW.encode(), media_type=TEXT)


async def _invocations(current: Current, predictor: Predictor, rows: int, call: Call) -> Response:
    serving = current.serving
    instances = await off_loop(call, lambda: _instances(call, serving.signature, rows))
    return await predicted(predictor, call, serving, instances)


def _instances(call: Call, signature: Signature, most_rows: int) -> Instances:
    if media_type_among(call, JSON, CSV) == CSV:
        names, rows = cells(call, header=True)
        found = signature.texts(names, limited(rows, most_rows))
    else:
        found = signature.fast(call.content) or _from_json(fields(null_for_nan(call.content)), signature, most_rows)
    return checked(found, most_rows)


def _from_json(given: Fields, signature: Signature, most_rows: int) -> Instances:
    name = only_one(given, ROWS_IN)
    if "params" in given:
        field_of(given, "params", dict[str, Any] | None)  # there is nothing that a request could set
    if name == "dataframe_split":
        return split(signature, field_of(given, name, Frame), most_rows=most_rows)
    if name == "inputs" and bytes(given[name]).startswith(b"{"):
        return by_column(signature, field_of(given, name, dict[str, list[Any]]), most_rows=most_rows)
    return records(signature, field_of(given, name, list[msgspec.Raw]), most_rows=most_rows)


def _error(error: RequestError, _request_id: str) -> Response:
    body: dict[str, Any] = {"error_code": ERROR_CODES.get(error.status, "BAD_REQUEST"), "message": in_words(error)}
    return as_json(body, error.status, error.headers)


def _described(most_rows: int, signature: Signature | None) -> Schema:
    rows = rows_in(signature, most_rows)
    forms = {
        "dataframe_split": frame_in(signature, most_rows),
        "dataframe_records": rows,
        "instances": rows,
        "inputs": rows,
    }
    body = {
        "type": "object",
        "properties": {**forms, "params": {"type": ["object", "null"]}},
        "oneOf": [{"required": [name]} for name in ROWS_IN],
    }
    csv = {"type": "string", "description": "The first line names the columns; an empty cell is missing."}
    return operation(
        "Predict as MLflow's scoring server does",
        tag=TAG,
        description="`inputs` may also be columns by name, of one length. `params` are taken and change nothing. NaN is"
        " taken for null.",
        request={JSON: content(body, {"dataframe_split": frame_example(signature)}), CSV: content(csv)},
        responses={200: answer("A prediction for each row, in order.", predictions(bad_rows=False)), 422: ""},
    )
