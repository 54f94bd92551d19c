"""The tensors of the Open Inference Protocol: from a request's to instances, from predictions to a response's.

Data is JSON, nested or flat, or, as Triton's clients send it by default, bytes behind the JSON (the "binary tensor
data" extension). A missing value is null; NaN where a type has no null; in bytes, a text of length 0. Entry points:
`request_of`, `instances_of` and `response`.
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import JSON, Call
from pipeline.service.instances.bodies import decode, null_for_nan
from pipeline.service.instances.predictions import Prediction
from pipeline.service.instances.rows import Reader
from pipeline.service.instances.signature import Instances, limited
from pipeline.service.instances.wording import cut

JSON_BYTES = b"inference-header-content-length"
"""The header with the length of the JSON, where bytes follow it."""
BINARY = "application/octet-stream"
NUMBERS = {
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "BOOL": "?",
}
"""Datatypes of numbers, and numpy's for their bytes."""
RANGES = {
    **{name: (int(np.iinfo(kind).min), int(np.iinfo(kind).max)) for name, kind in NUMBERS.items() if "INT" in name},
    "FP16": (-65504, 65504),
    "BOOL": (0, 1),
}
"""The least and largest number of a datatype, where that is less than what the model takes."""
OUTPUTS = {"satisfaction": "FP64", "satisfied": "BOOL", "model_version": "BYTES", "role": "BYTES", "words": "BYTES"}
"""The outputs: fields of `Prediction`, by datatype."""


class Tensor(msgspec.Struct):
    """An input."""

    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=0, lt=2**31)]]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class Wanted(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class Request(msgspec.Struct):
    """The JSON of a request."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] | None = None

    @property
    def wanted(self) -> dict[str, bool]:
        """The outputs to answer, each once, and whether as bytes."""
        default = (self.parameters or {}).get("binary_data_output") is True
        if not self.outputs:
            return dict.fromkeys(OUTPUTS, default)
        return {each.name: (each.parameters or {}).get("binary_data", default) is True for each in self.outputs}


def request_of(call: Call) -> tuple[Request, bytes]:
    """Return a body's JSON, and the bytes behind it; raise 400 or 422 as `bodies.decode`, 422 for unknown outputs."""
    length = call.fields.get(JSON_BYTES)
    if length is not None and not (re.fullmatch(b"[0-9]{1,15}", length) and int(length) <= len(call.content)):
        raise _wrong("the header Inference-Header-Content-Length is beyond this body", "the length of its JSON")
    end = len(call.content) if length is None else int(length)
    request: Request = decode(null_for_nan(call.content[:end]), Request)
    for name in request.wanted:
        if name not in OUTPUTS:
            raise _wrong(f"there is no output {cut(name)!r}", f"some of {', '.join(OUTPUTS)}")
    return request, call.content[end:]


def instances_of(request: Request, behind: bytes, reader: Reader) -> Instances:
    """Return the instances of a request's inputs; errors as of `Reader`, with the input as the field.

    Each input is a feature of all instances, or their customer_id or product_id.
    """
    columns, start = [], 0
    for tensor in request.inputs:
        datatypes = [*NUMBERS] if reader.signature.kinds.get(tensor.name) == "number" else ["BYTES"]
        if tensor.datatype not in datatypes:
            found = f"its datatype is {cut(tensor.datatype)!r}"
            raise _wrong(found, f"one of {', '.join(datatypes)}", tensor.name)
        if not tensor.shape or tensor.shape[1:] not in ([], [1]):
            raise _wrong(f"its shape is {cut(str(tensor.shape))}", "[n] or [n, 1], n instances", tensor.name)
        rows = tensor.shape[0]
        limited(range(rows), reader.most_rows)
        if rows != request.inputs[0].shape[0]:
            raise _wrong(f"it has {rows} values, the first input another number", "as many in each", tensor.name)
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            columns.append(_from_json(tensor, rows))
            continue
        if type(size) is not int or not 0 <= size <= len(behind) - start:
            found = "its binary_data_size is not a length within the bytes behind the JSON"
            raise _wrong(found, "the number of its own bytes", tensor.name)
        columns.append(_from_bytes(tensor, rows, behind[start : start + size]))
        start += size
    if start != len(behind):
        raise _wrong(f"{len(behind) - start} bytes are left behind those of its inputs", "bytes of inputs only")
    return reader.columns([tensor.name for tensor in request.inputs], zip(*columns, strict=True))


def response(request: Request, predictions: Sequence[Prediction], model_name: str) -> Response:
    """Return the answer; its model_version is that of every row, left out if an A/B test's rows have two."""
    versions = {prediction.model_version for prediction in predictions}
    head = {"model_name": model_name} | ({"model_version": versions.pop()} if len(versions) == 1 else {})
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for name, is_binary in request.wanted.items():
        values = [getattr(prediction, name) for prediction in predictions]
        output: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": [len(values)]}
        if is_binary:
            behind.append(_to_bytes(OUTPUTS[name], values))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = values
        outputs.append(output)
    echoed = {} if request.id is None else {"id": request.id}
    body = msgspec.json.encode({**head, **echoed, "outputs": outputs})
    if not behind:
        return Response(body, media_type=JSON)
    headers = {JSON_BYTES.decode(): str(len(body))}
    return Response(b"".join([body, *behind]), headers=headers, media_type=BINARY)


def _from_json(tensor: Tensor, rows: int) -> list[Any]:
    data = tensor.data or []
    if len(tensor.shape) > 1 and all(isinstance(cell, list) and len(cell) == 1 for cell in data):
        data = [*chain.from_iterable(data)]
    if len(data) != rows:
        raise _wrong(f"its data has {len(data)} values", f"{rows}, as its shape says", tensor.name)
    if tensor.datatype in RANGES:
        least, most = RANGES[tensor.datatype]
        kind = "a number" if tensor.datatype == "FP16" else "a whole number"
        for row, cell in enumerate(data):  # the signature refuses all but numbers
            if isinstance(cell, int | float) and not (least <= cell <= most and (kind == "a number" or cell % 1 == 0)):
                raise _wrong(f"a value is not {tensor.datatype}", f"{kind} from {least} to {most}", tensor.name, row)
    return data


def _from_bytes(tensor: Tensor, rows: int, content: bytes) -> list[Any]:
    if tensor.datatype == "BYTES":
        return _texts(tensor, rows, content)
    kind = np.dtype(NUMBERS[tensor.datatype])
    if len(content) != rows * kind.itemsize:
        raise _wrong(f"it has {len(content)} bytes", f"{kind.itemsize} for each of {rows} values", tensor.name)
    if tensor.datatype == "BOOL":
        return [byte != 0 for byte in content]
    return [None if value != value else value for value in np.frombuffer(content, kind).tolist()]  # noqa: PLR0124 - NaN


def _texts(tensor: Tensor, rows: int, content: bytes) -> list[str | None]:
    """Return texts, each behind its length in 4 bytes."""
    found: list[str | None] = []
    at = 0
    while at < len(content) and len(found) < rows:
        end = at + 4 + int.from_bytes(content[at : at + 4], "little")  # beyond the last byte if something is missing
        try:
            found.append(content[at + 4 : end].decode() or None)
        except UnicodeDecodeError:
            raise _wrong("a text is not in UTF-8", "text in UTF-8", tensor.name, len(found)) from None
        at = end
    if at != len(content) or len(found) != rows:
        raise _wrong("its bytes are not the texts of its shape", f"{rows} texts, each behind its length", tensor.name)
    return found


def _to_bytes(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "FP64":
        return np.array(values, "<f8").tobytes()
    if datatype == "BOOL":
        return bytes(values)
    texts = [text.encode() for text in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _wrong(found: str, expected: str, name: str | None = None, row: int | None = None) -> RequestError:
    where = "Of an input" if name is not None else "In the request"
    return RequestError(422, f"{where} {found}.", f"{expected}.", "correct the request.", field=name, row=row)
