"""The forms of rows that several contracts share: objects, lists in the signature's order, split frames, columns.

An adapter takes a body apart with `fields` and hands the part that holds the rows to `records`, `split` or `by_column`,
which know the form and leave what is in a row to `Signature`; `predicted` answers. `null_for_nan` lets pandas' clients
in. `probe` is the route by which platforms ask after our health.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import JSON, TEXT, Call, ErrorForm, Route, problem
from pipeline.service.contracts.docs import told
from pipeline.service.instances.forms import limited, written
from pipeline.service.instances.json_bodies import cut, decoded
from pipeline.service.instances.signature import Instances, Signature
from pipeline.service.model.current import Current
from pipeline.service.model.serving import Serving
from pipeline.service.predict.predictor import Predictor

SMALL_BYTES = 1_024
"""A larger body is read and answered in a thread: as many tiny bad rows as it can hold would keep others waiting."""

Found = TypeVar("Found")
Fields = Mapping[str, msgspec.Raw]
"""A JSON object's values by name, not decoded yet."""


class Frame(msgspec.Struct):
    """A frame as pandas splits it (`orient="split"`); its index says nothing to a model."""

    data: list[msgspec.Raw]
    columns: list[str] | None = None
    """None: the rows are objects, or lists in the signature's order."""
    index: list[Any] | None = None


def probe(current: Current, path: str, body: str, *, tag: str, error: ErrorForm = problem) -> Route:
    """Return the route by which a platform asks whether predictions are answered."""

    async def answered(_call: Call) -> Response:
        _ = current.serving  # refuses when there is none
        return Response(body.encode(), media_type=TEXT)

    return Route("GET", path, answered, operation=told("Predictions are answered", body, tag=tag), error=error)


async def predicted(
    predictor: Predictor, call: Call, serving: Serving, instances: Instances, form: str = JSON, *, header: bool = True
) -> Response:
    """Return the predictions as `wire.written` does."""
    predictions = await predictor.predict(call, serving, instances)
    return await off_loop(call, lambda: written(predictions, instances, form, header=header))


async def off_loop(call: Call, work: Callable[[], Found]) -> Found:
    """Return what `work` makes of a body or its answer; of a large body in a thread, so that others need not wait."""
    return work() if len(call.content) <= SMALL_BYTES else await asyncio.to_thread(work)


def null_for_nan(body: bytes) -> bytes:
    """Return a body in JSON with null wherever it says NaN.

    That is no JSON, but what Python's encoder, and so MLflow's and Triton's clients, write for a missing number. Every
    number stays as it is written, Infinity as one that is out of range: whoever decodes it next refuses that by row and
    field. A body that is no JSON otherwise either is returned as it came.
    """
    if b"NaN" not in body and b"Infinity" not in body:
        return body
    try:
        given = json.loads(body, parse_constant=_CONSTANTS.get, parse_float=_as_written, parse_int=_as_written)
        return msgspec.json.encode(given)
    except (ValueError, RecursionError):  # what decodes it next says what is wrong
        return body


def fields(body: bytes) -> Fields:
    """Return the fields of a body that is a JSON object.

    Raises
    ------
    RequestError
        400 when it is no JSON, 422 when it is no object.
    """
    found: Fields = decoded(body, dict[str, msgspec.Raw])
    return found


def field_of(given: Fields, name: str, kind: Any) -> Any:
    """Return a field as a type of msgspec's.

    Raises
    ------
    RequestError
        422 when it is of another type.
    """
    try:
        return decoded(bytes(given[name]), kind)
    except RequestError as error:
        error.field = name
        raise


def only_one(given: Fields, names: Sequence[str]) -> str:
    """Return which of these fields is there.

    Raises
    ------
    RequestError
        422 when it is not exactly one.
    """
    found = [name for name in names if name in given]
    if len(found) != 1:
        raise RequestError(
            422,
            f"The body has {' and '.join(found) or 'none'} of the fields that hold rows.",
            f"exactly one of {', '.join(names)}.",
            "send the rows in one of them.",
        )
    return found[0]


def records(
    signature: Signature, rows: Sequence[msgspec.Raw], *, most_rows: int, on_error_row: bool = False
) -> Instances:
    """Return the instances of rows of JSON, each an object or a list of values in the signature's order.

    Raises
    ------
    RequestError
        413 for too many; 422 with row and field for the first bad one, unless `on_error_row`.
    """
    limited(rows, most_rows)
    return signature.objects((_object(row, signature.names) for row in rows), on_error_row=on_error_row)


def split(signature: Signature, frame: Frame, *, most_rows: int, on_error_row: bool = False) -> Instances:
    """Return the instances of a split frame; errors as `records`."""
    if frame.columns is None:
        return records(signature, frame.data, most_rows=most_rows, on_error_row=on_error_row)
    rows = map(_decoded_row, limited(frame.data, most_rows))
    return signature.columns(frame.columns, rows, on_error_row=on_error_row)


def by_column(signature: Signature, columns: Mapping[str, Sequence[Any]], *, most_rows: int) -> Instances:
    """Return the instances of columns by name, all of one length; errors as `records`."""
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise RequestError(
            422,
            "The columns have different lengths.",
            "a value in each column for every row.",
            "send columns of one length, null where a value is not known.",
        )
    rows = limited(list(zip(*columns.values(), strict=True)), most_rows)
    return signature.columns([*columns], rows)


def in_words(error: RequestError) -> str:
    """Return an error as one text, for contracts that have no place of their own for the row and the field."""
    where = [f"{name} {value}" for name in ("row", "field") if (value := getattr(error, name)) is not None]
    return f"[{', '.join(where)}] {error}" if where else str(error)


_CONSTANTS = {"Infinity": msgspec.Raw(b"1e999"), "-Infinity": msgspec.Raw(b"-1e999")}


def _as_written(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def _object(row: msgspec.Raw, names: Sequence[str]) -> Any:
    """Return a row as `Signature.objects` takes it: a list with the names, what is wrong with it in its place."""
    if not bytes(row).lstrip().startswith(b"["):
        return row
    values = _decoded_row(row)
    if not isinstance(values, list):  # broken JSON, which is explained where the row is read
        return row
    if len(values) != len(names):
        return RequestError(
            422,
            f"In an instance there are {len(values)} values.",
            f"{len(names)}, in the order {cut(', '.join(names))}.",
            "mend that instance.",
        )
    return dict(zip(names, values, strict=True))


def _decoded_row(row: msgspec.Raw) -> Any:
    for decode in (msgspec.json.decode, _decode_infinite):
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return decode(row)
    return row


_decode_infinite = msgspec.json.Decoder(float_hook=float).decode
"""Takes a number beyond any float for infinite, so that the signature can say which field is out of range."""
