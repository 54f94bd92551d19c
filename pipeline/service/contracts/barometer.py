"""Our own API: `POST /predict` and `GET /predictions/{customer_id}/{product_id}`. The entry point is `routes`."""

import asyncio
import csv
import io
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, JSON_LINES, Call, Route, as_json
from pipeline.service.contracts.standard import LONG_ROWS, SMALL_BYTES, Standard, off_loop
from pipeline.service.instances.bodies import csv_rows, form_of, json_lines, negotiated, raw_rows
from pipeline.service.instances.predictions import COLUMNS, example_in, write
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Complete, Instances
from pipeline.service.published.completing import MOST_COMPLETED, completed
from pipeline.service.published.lookup import Lookup, PublishedPrediction
from pipeline.service.thread_pools import warehouse

PLAIN_BYTES = 32_768
"""A larger body is read in a thread, even plain JSON without a fault."""


def routes(standard: Standard, lookup: Lookup | None) -> list[Route]:
    """Return the routes of on-demand and of published predictions; without a warehouse the latter answers 501."""
    examples = {"json": example_in(JSON), "csv": example_in(CSV), "lines": example_in(JSON_LINES)}
    values = {"most_completed": MOST_COMPLETED, "columns": COLUMNS, "line": _line, "table": _table, **examples}
    paths = standard.described("barometer", published=PublishedPrediction, **values).paths
    return [
        Route("POST", "/predict", partial(_predict, standard, lookup), "predict", paths),
        Route("GET", "/predictions/{customer_id}/{product_id}", partial(_published, lookup), "predict", paths),
    ]


async def _predict(standard: Standard, lookup: Lookup | None, call: Call) -> Response:
    serving, most_rows = standard.current.serving, standard.most_rows
    form = negotiated(call)
    on_error_row = bool(call.scope["query_string"]) and _on_error_row(call)
    instances = None
    if call.fields.get(b"content-type") == b"application/json" and len(call.content) <= PLAIN_BYTES:
        instances = serving.signature.fast(call.content, most_rows)
    if instances is None:
        instances = await _read(lookup, call, Reader(serving.signature, most_rows, on_error_row))
    predictions = await standard.predictor.predict(call, serving, instances)
    if instances.rows <= LONG_ROWS:  # a coroutine less for the hot request
        return write(predictions, instances, form)
    return await asyncio.to_thread(write, predictions, instances, form)


async def _read(lookup: Lookup | None, call: Call, reader: Reader) -> Instances:
    is_large = len(call.content) > SMALL_BYTES

    def instances_of(complete: Complete | None) -> Awaitable[Instances]:
        return off_loop(is_large, partial(read, call, replace(reader, complete=complete)))

    return await (instances_of(None) if lookup is None else completed(lookup, instances_of))


def read(call: Call, reader: Reader) -> Instances:
    """Return the instances of a body in JSON (`{"instances": […]}`), JSON Lines or CSV."""
    form = form_of(call)
    if form is JSON:
        return reader.fast(call.content) or reader.objects(raw_rows(call.content))
    return reader.objects(json_lines(call.content)) if form is JSON_LINES else reader.texts(*csv_rows(call))


def _on_error_row(call: Call) -> bool:
    said = call.query_params.get("on_error", "refuse")
    if said not in {"row", "refuse"}:
        expected = "refuse (a bad row refuses the request, the default) or row (the others are answered)."
        raise RequestError(422, f"The parameter on_error is {said[:80]!r}.", expected, "choose one of them.")
    return said == "row"


async def _published(lookup: Lookup | None, call: Call) -> Response:
    if lookup is None:
        found = "This service runs from a model's files, without a warehouse."
        expected = "a service beside the weekly run, for what that has published."
        raise RequestError(501, found, expected, "send the features: POST /predict.")
    prediction = await warehouse(lookup.prediction, call.path_params["customer_id"], call.path_params["product_id"])
    if prediction is None:
        found = "The latest published week has no prediction for this customer and product."
        expected = "a customer_id and product_id of that week, percent-encoded."
        raise RequestError(404, found, expected, "correct them, or send the features: POST /predict.")
    return as_json(prediction)


def _line(row: dict[str, Any]) -> str:
    return f"{msgspec.json.encode(row).decode()}\n"


def _table(row: dict[str, Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([row.keys(), row.values()])
    return text.getvalue()
