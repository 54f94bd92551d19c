"""`GET /predictions/{customer_id}/{product_id}`: a subject's latest published prediction. Entry point: `routes`."""

from functools import partial

from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route, as_json
from pipeline.service.openapi import answer, operation, parameter
from pipeline.service.published.lookup import Lookup, PublishedPrediction
from pipeline.service.thread_pools import warehouse
from pipeline.service.type_schemas import json_content

OPERATION = operation(
    "The latest published prediction of a subject",
    description="The prediction of the latest published week, with the run, model, data and code it was made by.",
    parameters=[
        parameter("customer_id", "The customer, percent-encoded.", at="path"),
        parameter("product_id", "The product, percent-encoded.", at="path"),
    ],
    responses={
        200: answer("The prediction with its lineage.", json_content(PublishedPrediction)),
        404: "The latest published week has no such subject, or kept it out: the detail says why.",
        501: "There is no warehouse where this service runs.",
        503: "The warehouse does not answer, or too many requests are being answered.",
    },
)


def routes(lookup: Lookup | None) -> list[Route]:
    """Return the route of published predictions; without a warehouse it answers 501."""
    path = "/predictions/{customer_id}/{product_id}"
    return [Route("GET", path, partial(_prediction, lookup), scope="predict", operation=OPERATION)]


async def _prediction(lookup: Lookup | None, call: Call) -> Response:
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
