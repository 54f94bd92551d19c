"""The Open Inference Protocol, version 2, which KServe, Triton and MLServer speak: `/v2…`.

Each feature is an input of shape [n] or [n, 1]: FP64 (or another number) for numbers, BYTES for text; customer_id and
product_id may be further ones. The outputs are the prediction's fields. The only version to ask for is the champion's;
an A/B test's challenger may answer all the same, as each row's output `model_version` says. The entry point is
`routes`; `pipeline.service.instances.tensors` reads and writes the tensors.
"""

from functools import partial
from typing import Any

from starlette.responses import Response

import pipeline
from pipeline.errors import RequestError
from pipeline.service.calls import JSON, Call, Route, as_json
from pipeline.service.contracts.open_inference_docs import described
from pipeline.service.instances.forms import checked, media_type_among
from pipeline.service.instances.frames import in_words, off_loop
from pipeline.service.instances.tensors import BINARY, OUTPUTS, instances_of, request_of, response
from pipeline.service.model.current import Current
from pipeline.service.model.serving import Serving
from pipeline.service.predict.predictor import Predictor
from pipeline.settings.service import Service

MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"
DATATYPES = {"number": "FP64", "category": "BYTES"}


def routes(current: Current, predictor: Predictor, service: Service) -> list[Route]:
    """Return the routes of the protocol."""
    found = [
        Route("GET", "/v2", _server, operation=described("server"), error=_error),
        Route("GET", "/v2/health/live", _live, operation=described("live"), error=_error),
        Route("GET", "/v2/health/ready", partial(_ready, current), operation=described("ready"), error=_error),
    ]
    for path in (MODEL, VERSION):
        found += [
            Route("GET", path, partial(_model, current), "predict", described("model"), error=_error),
            Route("GET", f"{path}/ready", partial(_ready, current), operation=described("model_ready"), error=_error),
            Route(
                "POST",
                f"{path}/infer",
                partial(_infer, current, predictor, service.rows),
                "predict",
                described("infer"),
                error=_error,
            ),
        ]
    return found


async def _server(_call: Call) -> Response:
    return _json({"name": "barometer", "version": pipeline.__version__, "extensions": ["binary_tensor_data"]})


async def _live(_call: Call) -> Response:
    return _json({"live": True})


async def _ready(current: Current, call: Call) -> Response:
    """Answer of the server, or of a model, whether it is ready."""
    serving = current.serving  # refuses when there is none
    if "model" not in call.path_params:
        return _json({"ready": True})
    _check_name(serving, call)
    return _json({"name": serving.name, "ready": True})


async def _model(current: Current, call: Call) -> Response:
    serving = current.serving
    _check_name(serving, call)
    inputs = [{"name": f.name, "datatype": DATATYPES[f.kind], "shape": [-1]} for f in serving.signature.features]
    outputs = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS.items()]
    return _json(
        {
            "name": serving.name,
            "versions": [serving.champion.version],
            "platform": "onnxruntime_onnx",
            "inputs": inputs,
            "outputs": outputs,
        }
    )


async def _infer(current: Current, predictor: Predictor, rows: int, call: Call) -> Response:
    serving = current.serving
    _check_name(serving, call)
    media_type_among(call, JSON, BINARY, "")  # Triton's client names none
    request, behind = await off_loop(call, lambda: request_of(call))
    instances = await off_loop(call, lambda: instances_of(request, behind, serving.signature, rows))
    predictions = await predictor.predict(call, serving, checked(instances, rows))
    return await off_loop(call, lambda: response(request, predictions, serving.name))


def _check_name(serving: Serving, call: Call) -> None:
    """Refuse a model or version that is not in charge."""
    asked = call.path_params
    in_charge = {"model": serving.name, "version": serving.champion.version}
    for what in asked:
        if asked[what] != in_charge[what]:
            raise RequestError(
                404,
                f"The {what} {asked[what][:80]!r} is not in charge.",
                f"{in_charge[what]!r}.",
                "ask for that one, or leave the version out.",
            )


def _json(content: dict[str, Any]) -> Response:
    return as_json(content)


def _error(error: RequestError, _request_id: str) -> Response:
    status = 400 if error.status == 422 else error.status  # noqa: PLR2004 - which the protocol's servers do not know
    return as_json({"error": in_words(error)}, status, error.headers)
