"""The Open Inference Protocol, version 2, which KServe, Triton and MLServer speak: `/v2…`.

Each feature is an input of shape [n] or [n, 1]: FP64 (or another number) for numbers, BYTES for text; customer_id and
product_id may be further ones. The outputs are the prediction's fields. The only version to ask for is the champion's;
an A/B test's challenger may answer too, as each row's output `model_version` says. The entry point is `routes`;
`pipeline.service.instances.tensors` reads and writes the tensors.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.responses import Response

import pipeline
from pipeline.errors import RequestError
from pipeline.service.calls import JSON, Call, Route, as_json
from pipeline.service.contracts.standard import Standard
from pipeline.service.instances.bodies import media_type_among
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Instances
from pipeline.service.instances.tensors import BINARY, NUMBERS, OUTPUTS, instances_of, request_of, response
from pipeline.service.instances.wording import describe
from pipeline.service.model.current import Current
from pipeline.service.model.serving import Serving

MODEL = "/v2/models/{model}"
DATATYPES = {"number": "FP64", "category": "BYTES"}


def routes(standard: Standard) -> list[Route]:
    """Return the routes of the protocol."""
    values = {"outputs": [*OUTPUTS], "numbers": [*NUMBERS], "datatypes": DATATYPES}
    v2, current = standard.described("open_inference", error, **values), standard.current
    found = [
        v2.get("/v2", {"name": "barometer", "version": pipeline.__version__, "extensions": ["binary_tensor_data"]}),
        v2.get("/v2/health/live", {"live": True}),
        v2.get("/v2/health/ready", {"ready": True}, needs_model=True),
    ]
    for path in (MODEL, MODEL + "/versions/{version}"):
        found += [
            Route("GET", path, partial(_model, current), "predict", v2.paths, error),
            Route("GET", f"{path}/ready", partial(_model_ready, current), None, v2.paths, error),
            v2.predictions(f"{path}/infer", partial(read, current), write),
        ]
    return found


async def _model_ready(current: Current, call: Call) -> Response:
    return as_json({"name": _check_name(current, call).name, "ready": True})


async def _model(current: Current, call: Call) -> Response:
    serving = _check_name(current, call)
    return as_json(
        {
            "name": serving.name,
            "versions": [serving.champion.version],
            "platform": "barometer",
            "inputs": _shapes({name: DATATYPES[kind] for name, kind in serving.signature.kinds.items()}),
            "outputs": _shapes(OUTPUTS),
        }
    )


def _shapes(datatypes: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in datatypes.items()]


def _check_name(current: Current, call: Call) -> Serving:
    """Return what is in charge; refuse another model or version."""
    serving = current.serving
    in_charge = {"model": serving.name, "version": serving.champion.version}
    for what, asked in call.path_params.items():
        if asked != in_charge[what]:
            found, do = f"The {what} {asked[:80]!r} is not in charge.", "ask for that one, or leave the version out."
            raise RequestError(404, found, f"{in_charge[what]!r}.", do)
    return serving


def read(current: Current, call: Call, reader: Reader) -> Instances:
    """Return the instances of a request."""
    _check_name(current, call)
    media_type_among(call, JSON, BINARY, "")  # Triton's client names none
    request, behind = request_of(call)
    instances = instances_of(request, behind, reader)
    instances.answer = request, call.path_params["model"]
    return instances


def write(predictions: Sequence[Prediction], instances: Instances) -> Response:
    """Return the outputs that were asked for."""
    request, model_name = instances.answer
    return response(request, predictions, model_name)


def error(error: RequestError, _request_id: str) -> Response:
    """Return an error in the protocol's form, whose servers do not know the status 422."""
    return as_json({"error": describe(error)}, 400 if error.status == 422 else error.status, error.headers)  # noqa: PLR2004
