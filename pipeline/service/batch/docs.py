"""What `/openapi.json` says of batch predictions. The one thing to use is `OPERATIONS`."""

from typing import Any, Literal

from pipeline.service.batch.form import MEDIA_TYPES
from pipeline.service.calls import CSV, JSON, JSON_LINES
from pipeline.service.openapi import Schema, answer, content, listed, operation, parameter

Method = Literal["GET", "POST", "DELETE"]
PARQUET = "application/vnd.apache.parquet"
TAG = "Batch predictions"
JOB_ID = "file__5f70bf18a086__0d2c0b6e3f6a4c6f9a4de1b8f6a7c2d1"
PATH = f"/batch-predictions/{JOB_ID}"
LISTED: dict[str, Any] = {
    "id": JOB_ID,
    "state": "succeeded",
    "created_at": "2026-11-16T09:00:00+00:00",
    "finished_at": "2026-11-16T09:00:21+00:00",
    "expires_at": "2026-11-23T09:00:21+00:00",
    "links": {"self": PATH, "results": f"{PATH}/results", "rejects": f"{PATH}/rejects"},
}
TOLD = LISTED | {
    "counts": {"rows": 1000, "predicted": 998, "unreadable": 1, "quarantined": 1},
    "stage": None,
    "model_version": "3",
    "warnings": [],
    "ignored_columns": ["remark"],
    "error": None,
}
_INSTANT: Schema = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
_TEXT: Schema = {"type": "string"}
_STATE: Schema = {"type": "string", "enum": ["queued", "running", "succeeded", "failed", "cancelled"]}
_OF_LISTED: dict[str, Schema] = {
    "id": _TEXT,
    "state": _STATE,
    "created_at": _INSTANT,
    "finished_at": _INSTANT,
    "expires_at": _INSTANT | {"description": "Until when there are results."},
    "links": {"type": "object", "required": ["self"], "properties": dict.fromkeys(LISTED["links"], _TEXT)},
}
_OF_TOLD: dict[str, Schema] = _OF_LISTED | {
    "counts": {"type": "object", "properties": dict.fromkeys(TOLD["counts"], _COUNT)},
    "stage": {"type": ["string", "null"], "description": "The task of the DAG that runs."},
    "model_version": {"type": ["string", "null"]},
    "warnings": listed(_TEXT, description="Expectations that rows break without being rejected for it."),
    "ignored_columns": listed(_TEXT, description="Columns of the file that are none of the model's."),
    "error": {"type": ["object", "null"], "properties": dict.fromkeys(("detail", "expected", "do"), _TEXT)},
}


def _object(properties: dict[str, Schema], example: Any) -> dict[str, Schema]:
    return {JSON: content({"type": "object", "required": [*properties], "properties": properties}, example)}


_JOB = _object(_OF_TOLD, TOLD)
_FILE: Schema = {"type": "string", "format": "binary"}
_NOT_FOUND = {404: "There is no such job, or it is another key's.", 501: "Files are not scored where this runs."}
_BODIES: dict[str, Schema] = {name: content(_FILE) for name in MEDIA_TYPES} | {
    "multipart/form-data": content({"type": "object", "required": ["file"], "properties": {"file": _FILE}}),
    JSON: content(
        {
            "type": "object",
            "required": ["uri"],
            "additionalProperties": False,
            "properties": {"uri": _TEXT, "format": {"enum": ["csv", "jsonl", "parquet", None]}},
        },
        {"uri": "s3://bucket/rows.parquet"},
    ),
}
_RESULTS = """One line for each row of the file, in its order: `row` (from 0), `customer_id`, `product_id`,
`satisfaction`, `likely_satisfied`, `role`, `model_version`, and `error`, the reason why a row has no prediction."""
_REJECTS = """The rows that have no prediction: `row`, `line` (of the file), `customer_id`, `product_id`, `kind`
(unreadable or quarantined), `reason`, and `content` of a row that could not be read, as it stands in the file."""


def _handed_out(summary: str, description: str) -> Schema:
    forms = {"enum": ["csv", "jsonlines", "parquet"]}
    return operation(
        summary,
        tag=TAG,
        description=description,
        parameters=[parameter("format", "Of the answer; else as `Accept` says, else CSV.", forms)],
        responses={
            200: answer("The lines.", {CSV: content(_TEXT), JSON_LINES: content(_TEXT), PARQUET: content(_FILE)}),
            **_NOT_FOUND,
            406: "",
            409: "The job has no results yet, or failed.",
            410: "The results are no longer kept.",
            422: "The format is unknown.",
        },
    )


OPERATIONS: dict[tuple[Method, str], Schema] = {
    ("POST", ""): operation(
        "Have a file of rows scored",
        tag=TAG,
        description="The file, as the body or as the one file of a form: CSV with a header line, JSON Lines or Parquet,"
        " its columns the model's features in any order, and maybe `customer_id` and `product_id`. Or the address of"
        " one, where `service.file_sources` allows it. A bad row is answered for in its place and costs no other row"
        " its prediction; one that leaves a feature out is bad, whoever it is of.",
        request=_BODIES,
        parameters=[
            parameter(
                "Idempotency-Key",
                "Makes repeating the request harmless: the same key and file are the same job, until it fails, is"
                " cancelled or its results are gone; then the key may be used again, for any file.",
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                at="header",
            )
        ],
        responses={
            202: answer("The job, accepted.", _object(_OF_LISTED, LISTED), {"Location": _TEXT}),
            403: "The address is not one that files may be read from, or the key is not allowed this.",
            422: "The Idempotency-Key was used with another file, or the body is not as it should be.",
            501: _NOT_FOUND[501],
        },
    ),
    ("GET", ""): operation(
        "The latest jobs",
        tag=TAG,
        description="The key's own, the latest first; all for the scope admin.",
        responses={
            200: answer(
                "The jobs.",
                _object(
                    {"jobs": listed({"type": "object", "required": [*_OF_LISTED], "properties": _OF_LISTED})},
                    {"jobs": [LISTED]},
                ),
            ),
            501: _NOT_FOUND[501],
        },
    ),
    ("GET", "/{id}"): operation(
        "A job",
        tag=TAG,
        description="Its state, how many rows there are and what became of them, and where the results are.",
        responses={200: answer("The job.", _JOB), **_NOT_FOUND},
    ),
    ("GET", "/{id}/results"): _handed_out("A job's results", _RESULTS),
    ("GET", "/{id}/rejects"): _handed_out("The rows that have no prediction", _REJECTS),
    ("DELETE", "/{id}"): operation(
        "End a job",
        tag=TAG,
        description="Cancels a job that goes on; removes the files of one that has ended, results and all.",
        responses={200: answer("The job as it is now.", _JOB), **_NOT_FOUND},
    ),
}
