"""Amazon SageMaker's contract, for endpoints and batch transform: `/ping`, `/invocations`, `/execution-parameters`.

A record is a line, as SageMaker's own splitting has it, and CSV has no header. A bad line never loses the others: what
is wrong with it stands in its place, so that there are as many lines out as in, in their order. Where the client does
not say, the answer has the form of the request. The entry point is `routes`.
"""

import csv
from functools import partial

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, Call, Route, as_json
from pipeline.service.contracts.docs import lines_in
from pipeline.service.instances.described import predictions_out
from pipeline.service.instances.forms import checked, form_of, limited, negotiated
from pipeline.service.instances.frames import off_loop, predicted, probe, records
from pipeline.service.instances.json_bodies import raw_rows
from pipeline.service.instances.signature import Instances, Signature
from pipeline.service.model.current import Current
from pipeline.service.openapi import Schema, answer, content, operation
from pipeline.service.predict.predictor import Predictor
from pipeline.settings.service import Service

TAG = "SageMaker"
MEGABYTE = 2**20
TRANSFORMS = 8
"""More at once would only wait for each other."""
MOST_ROWS = 200_000
"""SageMaker fills a request up to its bytes, whatever its rows: `service.rows` would lose the file. But a bad row of
one byte is answered by a hundred, so there is a bound; 6 MB of rows of 30 bytes keep it."""
TOGETHER_MEGABYTES = 100
"""SageMaker takes no larger product of transforms at once and their payload."""


def routes(current: Current, predictor: Predictor, service: Service) -> list[Route]:
    """Return the routes that SageMaker asks for."""
    parameters = _execution_parameters(service)
    told = operation(
        "How a batch transform best asks", tag=TAG, responses={200: answer("So.", {JSON: content({}, parameters)})}
    )
    return [
        probe(current, "/ping", "", tag=TAG),
        Route("GET", "/execution-parameters", partial(_parameters, parameters), operation=told),
        Route("POST", "/invocations", partial(_invocations, current, predictor), "predict", _described),
    ]


async def _parameters(parameters: dict[str, int | str], _call: Call) -> Response:
    return as_json(parameters)


async def _invocations(current: Current, predictor: Predictor, call: Call) -> Response:
    serving, form = current.serving, form_of(call)
    wanted = negotiated(call, default=form)
    instances = await off_loop(call, lambda: checked(_instances(call, form, serving.signature, MOST_ROWS), MOST_ROWS))
    return await predicted(predictor, call, serving, instances, wanted, header=_has_header(call))


def _instances(call: Call, form: str, signature: Signature, most_rows: int) -> Instances:
    if form is JSON:
        return signature.fast(call.content) or records(
            signature, raw_rows(call.content), most_rows=most_rows, on_error_row=True
        )
    lines = _lines(call.content, most_rows)
    if form is not CSV:
        return records(signature, [*map(msgspec.Raw, lines)], most_rows=most_rows, on_error_row=True)
    names = _cells(lines.pop(0)) if _has_header(call) and lines else None
    if isinstance(names, RequestError):
        raise names
    return signature.texts(names, map(_cells, lines), on_error_row=True)


def _lines(body: bytes, most_rows: int) -> list[bytes]:
    """Return the lines, empty ones too, if they are not too many: as objects, tiny ones take many times their bytes.

    Elsewhere an empty line is passed over. But SageMaker splits records at newlines: a join would give every later
    record another's prediction, and an empty line that is sent alone would be refused and lose the file.
    """
    limited(range(body.count(b"\n") + body.count(b"\r") - body.count(b"\r\n")), most_rows)
    return body.removeprefix(b"\xef\xbb\xbf").splitlines()


def _has_header(call: Call) -> bool:
    return call.media.parameters.get("header") == "present"


def _cells(line: bytes) -> list[str] | RequestError:
    """Return the cells of a line of CSV, or why it has none."""
    try:
        return next(csv.reader((line.decode(),), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        return RequestError(422, f"A line is no CSV: {error}.", "a line of CSV in UTF-8.", "mend that line.")


def _execution_parameters(service: Service) -> dict[str, int | str]:
    megabytes = max(service.body_bytes // MEGABYTE, 1)
    at_once = max(min(TRANSFORMS, service.concurrent_requests, TOGETHER_MEGABYTES // megabytes), 1)
    return {"MaxConcurrentTransforms": at_once, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}


def _described(signature: Signature | None) -> Schema:
    return operation(
        "Predict for SageMaker",
        tag=TAG,
        description="A bad row is answered by what is wrong with it, in its place. Without `Accept` the answer has the"
        " request's form.",
        request=lines_in(signature, MOST_ROWS),
        responses={
            200: answer("A prediction for each row, in order.", predictions_out(bad_rows=True, header=False)),
            406: "",
            422: "",
        },
    )
