"""Amazon SageMaker's contract, for endpoints and batch transform: `/ping`, `/invocations`, `/execution-parameters`.

A record is a line, as SageMaker's own splitting has it, and CSV has no header. An error is answered in a bad line's
place, so that there are as many lines out as in, in their order. The answer has the form of the request, unless the
client asks for another. The entry point is `routes`.
"""

import csv
from collections.abc import Sequence
from dataclasses import replace

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, JSON_LINES, Call, Route
from pipeline.service.contracts.platforms import MEGABYTE
from pipeline.service.contracts.standard import Standard
from pipeline.service.instances import predictions
from pipeline.service.instances.bodies import form_of, negotiated, raw_rows
from pipeline.service.instances.predictions import Prediction, example_in
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Instances, limited
from pipeline.settings.service import Service

TRANSFORMS = 8
"""More at once would only wait for each other."""
MOST_ROWS = 200_000
"""SageMaker fills a request up to its bytes, so `service.rows` would refuse whole files. There is a bound, because a
bad row of one byte is answered by a hundred; 6 MB of rows of 30 bytes are within it."""
TOGETHER_MEGABYTES = 100
"""SageMaker's bound for the transforms at once times their payload."""


def routes(standard: Standard) -> list[Route]:
    """Return the routes that SageMaker asks for."""
    parameters = _execution_parameters(standard.service)
    values = {"json": example_in(JSON), "csv": example_in(CSV, header=False), "lines": example_in(JSON_LINES)}
    values |= {"columns": predictions.COLUMNS, "parameters": parameters}
    sagemaker = replace(standard, most_rows=MOST_ROWS).described("sagemaker", **values)
    return [
        sagemaker.get("/ping", "", needs_model=True),
        sagemaker.get("/execution-parameters", parameters),
        sagemaker.predictions("/invocations", read, write, on_error_row=True),
    ]


def _execution_parameters(service: Service) -> dict[str, int | str]:
    megabytes = max(service.body_bytes // MEGABYTE, 1)
    at_once = max(min(TRANSFORMS, service.concurrent_requests, TOGETHER_MEGABYTES // megabytes), 1)
    return {"MaxConcurrentTransforms": at_once, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}


def read(call: Call, reader: Reader) -> Instances:
    """Return the instances of a request."""
    form = form_of(call)
    has_header = call.media.parameters.get("header") == "present"
    wanted = negotiated(call, default=form)
    if form is JSON:
        instances = reader.fast(call.content) or reader.records(raw_rows(call.content))
    elif form is CSV:
        rows = map(_cells, _lines(call.content, reader.most_rows))
        names = next(rows, None) if has_header else None
        if isinstance(names, RequestError):
            raise names
        instances = reader.texts(names, rows)
    else:
        instances = reader.records([*map(msgspec.Raw, _lines(call.content, reader.most_rows))])
    instances.answer = wanted, has_header
    return instances


def _lines(body: bytes, most_rows: int) -> list[bytes]:
    """Return the lines, empty ones too; they are counted first, since a tiny line takes many times its bytes.

    An empty line is a record here: SageMaker splits records at newlines, so passing it over would give every later
    record another's prediction, and an empty line that is sent alone would be refused and lose the file.
    """
    limited(range(body.count(b"\n") + body.count(b"\r") - body.count(b"\r\n")), most_rows)
    return body.removeprefix(b"\xef\xbb\xbf").splitlines()


def _cells(line: bytes) -> list[str] | RequestError:
    """Return the cells of a line of CSV, or why it has none."""
    try:
        return next(csv.reader((line.decode(),), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        return RequestError(422, f"A line is not CSV: {error}.", "a line of CSV in UTF-8.", "correct that line.")


def write(found: Sequence[Prediction], instances: Instances) -> Response:
    """Return the predictions in the form that was asked for."""
    form, has_header = instances.answer
    return predictions.write(found, instances, form, header=has_header)
