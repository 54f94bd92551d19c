"""Predictions, and the bytes that they are answered as. The entry point is `write`."""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from pipeline.models.routing import CHALLENGER, CHAMPION
from pipeline.service.calls import CSV, JSON, JSON_LINES
from pipeline.service.instances.signature import Instances


class Prediction(msgspec.Struct, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """The answer for one instance."""

    satisfaction: Annotated[float, msgspec.Meta(ge=0, le=1, description="How likely the customer is satisfied.")]
    satisfied: Annotated[bool, msgspec.Meta(description="Whether that is at or above the threshold.")]
    model_version: Annotated[str, msgspec.Meta(description="The model version that predicted it.")]
    role: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [CHAMPION, CHALLENGER]})]
    words: Annotated[str, msgspec.Meta(description="The same in words.")]
    features_week: Annotated[
        str | None, msgspec.Meta(description="The week of the snapshot that completed the features.")
    ] = None


class BadRow(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What is wrong with an instance, in its place among the predictions."""

    error: str
    expected: str
    do: str
    field: str | None = None


COLUMNS = (*Prediction.__struct_fields__, "error")
"""Of an answer in CSV."""
EXAMPLE = Prediction(
    satisfaction=0.87,
    satisfied=True,
    model_version="3",
    role=CHAMPION,
    words="Likely satisfied: 87 of 100 such customers are.",
)
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def write(
    predictions: Sequence[Prediction], instances: Instances, form: str = JSON, *, header: bool = True
) -> Response:
    """Return the answer in a form: a line or element for each row of the request, in order."""
    rows = in_order(predictions, instances)
    if form is JSON:
        return Response(_encode({"predictions": rows}), media_type=JSON)
    if form is JSON_LINES:
        return Response(_encode_lines(rows), media_type=JSON_LINES)
    media_type = f"{CSV}; charset=utf-8; header={'present' if header else 'absent'}"
    return Response(_csv(rows, header=header), media_type=media_type)


def example_in(form: str, *, header: bool = True) -> Any:
    """Return an answer in a form, for the document: text if the form is not JSON."""
    body = bytes(write([EXAMPLE], Instances(), form, header=header).body)
    return msgspec.json.decode(body) if form is JSON else body.decode()


def in_order(predictions: Sequence[Prediction], instances: Instances) -> Sequence[Prediction | BadRow]:
    """Return for each row of the request its prediction, or what is wrong with it."""
    if not instances.bad:
        return predictions
    good = iter(predictions)
    rows = map(instances.bad.get, range(instances.rows))
    return [BadRow(bad.found, bad.expected, bad.do, bad.field) if bad else next(good) for bad in rows]


def _csv(rows: Sequence[Prediction | BadRow], *, header: bool) -> bytes:
    content = io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="")  # a StringIO would take four bytes for each character
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for row in rows:
        if isinstance(row, BadRow):
            writer.writerow([None] * (len(COLUMNS) - 1) + [f"{row.error} Expected: {row.expected}"])
        else:
            satisfied = "true" if row.satisfied else "false"
            texts = [row.model_version, row.role, row.words, row.features_week]
            writer.writerow([repr(row.satisfaction), satisfied, *texts, None])
    text.flush()
    return content.getvalue()
