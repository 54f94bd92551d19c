"""`GET /predictions/{customer_id}/{product_id}`: a subject's latest published prediction. Entry point: `routes`."""

from functools import partial

from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route, as_json
from pipeline.service.openapi import described
from pipeline.service.published.lookup import Lookup, PublishedPrediction
from pipeline.service.thread_pools import warehouse


def routes(lookup: Lookup | None) -> list[Route]:
    """Return the route of published predictions; without a warehouse it answers 501."""
    paths = described("published/routes.yaml", prediction_type=PublishedPrediction)
    return [Route("GET", "/predictions/{customer_id}/{product_id}", partial(_prediction, lookup), "predict", paths)]


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
