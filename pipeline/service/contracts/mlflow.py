"""MLflow's scoring protocol: `/invocations`, `/ping`, `/health`, `/version`.

The predictions are a list of objects, so that MLflow's own client makes a frame of them (`get_predictions()`) with the
columns satisfaction, satisfied, model_version, role and words, a row for each row that was sent. A bad row refuses the
request, as in MLflow. The entry point is `routes`.
"""

from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, Call, Route, as_json
from pipeline.service.contracts.standard import Standard
from pipeline.service.instances.bodies import csv_rows, media_type_among, null_for_nan
from pipeline.service.instances.rows import Absent, Columns, Frame, Reader, Rows
from pipeline.service.instances.signature import Instances
from pipeline.service.instances.wording import describe

MLFLOW = "3.17.2"
"""The version of MLflow whose scoring server this speaks like; clients ask for it."""
ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's names for statuses; every other one is a BAD_REQUEST."""


def routes(standard: Standard) -> list[Route]:
    """Return the routes of MLflow's scoring server."""
    mlflow = standard.described("mlflow", error, version=MLFLOW)
    return [
        mlflow.get("/ping", "\n", needs_model=True),
        mlflow.get("/health", "\n", needs_model=True),
        mlflow.get("/version", MLFLOW),
        mlflow.predictions("/invocations", read),
    ]


class Body(msgspec.Struct):
    """A request in JSON; one of its fields holds the rows."""

    dataframe_split: Frame | Absent = msgspec.UNSET
    dataframe_records: Rows | Absent = msgspec.UNSET
    instances: Rows | Absent = msgspec.UNSET
    inputs: Rows | Columns | Absent = msgspec.UNSET
    params: dict[str, Any] | None = None


def read(call: Call, reader: Reader) -> Instances:
    """Return the instances of a request."""
    if media_type_among(call, JSON, CSV) == CSV:
        return reader.texts(*csv_rows(call))
    return reader.json(null_for_nan(call.content), Body)


def error(error: RequestError, _request_id: str) -> Response:
    """Return an error in MLflow's form."""
    code = ERROR_CODES.get(error.status, "BAD_REQUEST")
    return as_json({"error_code": code, "message": describe(error)}, error.status, error.headers)
