"""Our own API: `POST /predict`.

The entry point is `routes`; `pipeline.service.wire` reads and writes the forms.
"""

from collections.abc import Sequence
from functools import partial

from pipeline.errors import RequestError
from pipeline.service.calls import Answer, Call, Route
from pipeline.service.described import instances_in, predictions_out
from pipeline.service.openapi import Schema, answer, operation, parameter
from pipeline.service.parts import Parts
from pipeline.service.signature import Complete, Signature, Values
from pipeline.service.wire import negotiated, read, written


def routes(parts: Parts) -> list[Route]:
    """Return the route of on-demand predictions."""
    described = partial(_described, parts.settings.service.rows)
    predict = partial(_predict, parts, _completing(parts))
    return [Route("POST", "/predict", predict, scope="predict", operation=described)]


async def _predict(parts: Parts, complete: Complete | None, call: Call) -> Answer:
    serving = parts.current.serving
    form = negotiated(call)
    instances = await read(
        call,
        serving.signature,
        header=True,
        on_error_row=bool(call.query_string) and _on_error_row(call),
        complete=complete,
        most_rows=parts.settings.service.rows,
    )
    return written(await parts.predictor.predict(call, serving, instances), instances, form)


def _described(most_rows: int, signature: Signature | None) -> Schema:
    says = "`refuse`: a bad row refuses the request. `row`: an error stands in its place, the others are answered."
    return operation(
        "Predict how satisfied customers are likely to be",
        description="One prediction for each instance, in order. `Accept` chooses the answer's form.",
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
    said = call.query.get("on_error", "refuse")
    if said not in {"row", "refuse"}:
        raise RequestError(
            status=422,
            found=f"The parameter on_error is {said[:80]!r}.",
            expected="refuse (a bad row refuses the request, the default) or row (the others are answered).",
            do="choose one of them.",
        )
    return said == "row"


def _completing(parts: Parts) -> Complete | None:
    """Return what completes a subject's features from its latest snapshot, where there is a warehouse."""
    lookup = parts.lookup
    if lookup is None:
        return None

    def complete(customer_id: str, product_id: str, names: Sequence[str]) -> tuple[str, Values]:
        found = lookup.features(customer_id, product_id, names)
        if found is None:
            raise RequestError(
                status=404,
                found="The subject of an instance is in no published week.",
                expected="a customer_id and product_id that were predicted, or a value for each feature.",
                do="send all features, null where one is not known.",
            )
        return found

    return complete
