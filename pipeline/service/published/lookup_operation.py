"""What `/openapi.json` says of `GET /predictions/{customer_id}/{product_id}`. The one entry point is `OPERATION`."""

from typing import Any

from pipeline.service.calls import JSON
from pipeline.service.openapi import answer, content, operation, parameter

EXAMPLE: dict[str, Any] = {
    "customer_id": "c0042",
    "product_id": "p1",
    "week": "2026-11-16",
    "satisfaction": 0.8134,
    "likely_satisfied": True,
    "role": "champion",
    "model_version": "3",
    "trained_after_cutoff": False,
    "info": {"info_name": "A name"},
    "run_id": "2026-11-16.1",
    "published_at": "2026-11-23T04:12:09.512000+00:00",
    "snapshot_digest": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "code_version": "1.0.0",
    "config_digest": "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
    "bundle_digest": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
}
SAY = {
    "week": "The week, named by its Monday.",
    "satisfaction": "Predicted probability that the customer is satisfied with the product.",
    "likely_satisfied": "Whether that is at or above the configured threshold.",
    "role": "Which model made the prediction: champion or challenger.",
    "trained_after_cutoff": "Whether the model saw data from after the end of the week.",
    "info": "What the features' SQL carries for readers.",
    "snapshot_digest": "SHA-256 of the features: the version of the data.",
    "config_digest": "SHA-256 of the settings that shape results.",
    "bundle_digest": "SHA-256 of the list of the model's files.",
}
KINDS: dict[type, Any] = {str: "string", bool: "boolean", float: "number", dict: ["object", "null"]}
NULLABLE = {"snapshot_digest", "code_version", "config_digest", "bundle_digest"}


def _field(name: str, value: Any) -> dict[str, Any]:
    kind = ["string", "null"] if name in NULLABLE else KINDS[type(value)]
    return {"type": kind} | ({"description": SAY[name]} if name in SAY else {})


OPERATION = operation(
    "The latest published prediction of a subject",
    description="The prediction of the latest published week, with the run, model, data and code it was made by.",
    parameters=[
        parameter("customer_id", "The customer, percent-encoded.", at="path"),
        parameter("product_id", "The product, percent-encoded.", at="path"),
    ],
    responses={
        200: answer(
            "The prediction with its lineage.",
            {
                JSON: content(
                    {
                        "type": "object",
                        "required": [*EXAMPLE],
                        "properties": {name: _field(name, value) for name, value in EXAMPLE.items()},
                    },
                    EXAMPLE,
                )
            },
        ),
        404: "The latest published week has no such subject, or kept it out: the detail says why.",
        501: "There is no warehouse where this service runs.",
        503: "The warehouse does not answer, or too many requests are being answered.",
    },
)
