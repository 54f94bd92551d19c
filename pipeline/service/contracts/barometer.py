"""Our own API: `POST /predict`.

The entry point is `routes`; `pipeline.service.instances.forms` reads and writes the forms.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial

from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route
from pipeline.service.instances.described import instances_in, predictions_out
from pipeline.service.instances.forms import at_once, negotiated, read, written
from pipeline.service.instances.signature import Complete, Instances, Signature
from pipeline.service.model.current import Current
from pipeline.service.openapi import Schema, answer, operation, parameter
from pipeline.service.predict.predictor import Predictor
from pipeline.service.published.completing import MOST_COMPLETED, completed
from pipeline.service.published.lookup import Lookup
from pipeline.settings.service import Service

LONG_ROWS = 1_000
"""An answer for more is written in a thread, so that others need not wait."""


def routes(current: Current, predictor: Predictor, lookup: Lookup | None, service: Service) -> list[Route]:
    """Return the route of on-demand predictions."""
    described = partial(_described, service.rows)
    return [
        Route(
            "POST",
            "/predict",
            partial(_predict, current, predictor, lookup, service.rows),
            scope="predict",
            operation=described,
        )
    ]


async def _predict(current: Current, predictor: Predictor, lookup: Lookup | None, rows: int, call: Call) -> Response:
    serving = current.serving
    form = negotiated(call)
    on_error_row = bool(call.scope["query_string"]) and _on_error_row(call)
    instances = at_once(call, serving.signature, rows)
    if instances is None:
        instances = await _read(lookup, rows, serving.signature, call, on_error_row=on_error_row)
    answered = partial(written, await predictor.predict(call, serving, instances), instances, form)
    return answered() if instances.rows <= LONG_ROWS else await asyncio.to_thread(answered)


async def _read(
    lookup: Lookup | None, most_rows: int, signature: Signature, call: Call, *, on_error_row: bool
) -> Instances:

    def instances_of(complete: Complete | None) -> Awaitable[Instances]:
        return read(call, signature, header=True, on_error_row=on_error_row, complete=complete, most_rows=most_rows)

    return await (instances_of(None) if lookup is None else completed(lookup, instances_of))


def _described(most_rows: int, signature: Signature | None) -> Schema:
    says = "`refuse`: a bad row refuses the request. `row`: an error stands in its place, the others are answered."
    return operation(
        "Predict how satisfied customers are likely to be",
        description="One prediction for each instance, in order. `Accept` chooses the answer's form. Where there is a"
        f" warehouse, up to {MOST_COMPLETED} subjects may leave features to the latest snapshot.",
        request=instances_in(signature, most_rows, header=True),
        parameters=[parameter("on_error", says, {"enum": ["refuse", "row"], "default": "refuse"})],
        responses={
            200: answer("A prediction for each instance.", predictions_out(bad_rows=True)),
            404: "The subject of an instance that leaves features out is in no published week; `row` says which.",
            406: "",
            422: "",
        },
    )


def _on_error_row(call: Call) -> bool:
    said = call.query_params.get("on_error", "refuse")
    if said not in {"row", "refuse"}:
        raise RequestError(
            422,
            f"The parameter on_error is {said[:80]!r}.",
            "refuse (a bad row refuses the request, the default) or row (the others are answered).",
            "choose one of them.",
        )
    return said == "row"
