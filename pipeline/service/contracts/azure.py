"""Azure ML's contract: `POST /score` and `GET /`, as its own inference server has them; a deployment may name others.

The rows come in the form of its MLflow deployments (`{"input_data": {"columns", "index", "data"}}`, or `input_data` a
list of rows), or as `data` or `instances`, each a list of rows. Columns are taken by their names. The answer is
`{"predictions": […]}`, with an error in a bad row's place. The entry point is `routes`.
"""

import msgspec

from pipeline.service.calls import JSON, Call, Route
from pipeline.service.contracts.standard import Standard
from pipeline.service.instances.bodies import field_of, fields, null_for_nan, only_one
from pipeline.service.instances.forms import media_type_among
from pipeline.service.instances.predictions import write
from pipeline.service.instances.rows import Frame, Reader
from pipeline.service.instances.signature import Instances
from pipeline.service.model.current import Current
from pipeline.service.predict.predictor import Predictor
from pipeline.settings.service import Service


def routes(current: Current, predictor: Predictor, service: Service) -> list[Route]:
    """Return the routes of Azure ML's inference server."""
    azure = Standard("azure", current, predictor, service.rows)
    score = azure.predictions(read, write, on_error_row=True)
    return [azure.probe("/", "Healthy\n"), azure.route("POST", "/score", score, "predict")]


def read(call: Call, reader: Reader) -> Instances:
    """Return the instances of a request."""
    media_type_among(call, JSON)
    if found := reader.fast(call.content):
        return found
    given = fields(null_for_nan(call.content))
    name = only_one(given, ("input_data", "data", "instances"), ignored="params")
    if name == "input_data" and bytes(given[name]).startswith(b"{"):
        return reader.frame(field_of(given, name, Frame))
    return reader.records(field_of(given, name, list[msgspec.Raw]))
