"""How `/openapi.json` describes the Open Inference Protocol. The entry point is `described`."""

from collections.abc import Callable
from typing import Literal

from pipeline.models.bundle import Feature
from pipeline.service.calls import JSON
from pipeline.service.contracts.docs import value_of
from pipeline.service.instances.signature import Signature
from pipeline.service.instances.tensors import BINARY, NUMBERS, OUTPUTS
from pipeline.service.openapi import Schema, answer, content, example_instance, listed, operation

TAG = "Open Inference Protocol"
TEXT: Schema = {"type": "string"}
SHAPE = listed({"type": "integer", "minimum": -1}, minItems=1)
PARAMETERS: Schema = {"type": ["object", "null"]}

What = Literal["server", "live", "ready", "model", "model_ready", "infer"]


def described(what: What) -> Callable[[Signature | None], Schema]:
    """Return what makes a route's operation for a model."""
    return _MAKERS[what]


def _infer(signature: Signature | None) -> Schema:
    tensors = [_tensor(feature) for feature in signature.features] if signature else []
    body = _object(
        required=["inputs"],
        id={"type": ["string", "null"]},
        inputs={
            "type": "array",
            "prefixItems": tensors,
            "minItems": len(tensors) or 1,
            "maxItems": len(tensors) or 100,
        },
        outputs={"type": ["array", "null"], "items": _object(required=["name"], name={"enum": [*OUTPUTS]})},
        parameters=PARAMETERS,
    )
    output = _object(
        required=["name", "datatype", "shape"], name=TEXT, datatype=TEXT, shape=SHAPE, data={"type": "array"}
    )
    found = _object(
        required=["model_name", "outputs"],
        model_name=TEXT,
        model_version=TEXT | {"description": "Of every row; left out where an A/B test's rows have two."},
        id=TEXT,
        outputs=listed(output),
    )
    inputs = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for name, value in example_instance(signature).items()
    ]
    return operation(
        "Predict by the Open Inference Protocol",
        tag=TAG,
        description="Each feature is an input of shape [n] or [n, 1], all of one n, in any order; `data` is nested or"
        " flat, null is missing; customer_id and product_id may be further inputs. With the header"
        " `Inference-Header-Content-Length` the data of inputs may be bytes behind the JSON, and so that of outputs"
        " where `binary_data` or `binary_data_output` asks for it.",
        request={JSON: content(body, {"inputs": inputs})},
        responses={
            200: answer("The outputs asked for, all without `outputs`.", {JSON: content(found), BINARY: content({})}),
            404: "",
        },
    )


def _tensor(feature: Feature) -> Schema:
    """Return the schema of a feature's input; that `shape`, `datatype` and `data` fit together no schema can say."""
    size = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
    return _object(
        required=["name", "shape", "datatype", "data"],
        name={"const": feature.name},
        shape={"type": "array", "prefixItems": [size, {"const": 1}], "minItems": 1, "maxItems": 2},
        datatype={"enum": ["BYTES"] if feature.kind == "category" else [*NUMBERS]},
        data=listed(value_of(feature), minItems=1),
        parameters=PARAMETERS,
    )


def _model(_signature: Signature | None) -> Schema:
    tensors = listed(_object(required=["name", "datatype", "shape"], name=TEXT, datatype=TEXT, shape=SHAPE))
    found = _object(
        required=["name", "versions", "platform", "inputs", "outputs"],
        name=TEXT,
        versions=listed(TEXT),
        platform=TEXT,
        inputs=tensors,
        outputs=tensors,
    )
    return _told("What the model takes and gives", found, not_found=True)


def _told(summary: str, found: Schema, *, not_found: bool = False) -> Schema:
    responses: dict[int, str | Schema] = {200: answer(f"{summary}.", {JSON: content(found)})}
    return operation(summary, tag=TAG, responses=responses | ({404: ""} if not_found else {}))


def _object(*, required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


_YES: Schema = {"const": True}
_SERVER = _object(required=["name", "version", "extensions"], name=TEXT, version=TEXT, extensions=listed(TEXT))
_MODEL_READY = _object(required=["name", "ready"], name=TEXT, ready=_YES)
_MAKERS: dict[What, Callable[[Signature | None], Schema]] = {
    "server": lambda _: _told("What this server is", _SERVER),
    "live": lambda _: _told("The server lives", _object(required=["live"], live=_YES)),
    "ready": lambda _: _told("The server is ready", _object(required=["ready"], ready=_YES)),
    "model": _model,
    "model_ready": lambda _: _told("The model is ready", _MODEL_READY, not_found=True),
    "infer": _infer,
}
