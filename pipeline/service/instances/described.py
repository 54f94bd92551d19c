"""How `/openapi.json` describes instances going in and predictions coming out.

Shared by our own API and the clouds' that speak these forms. Entry points: `instances_in` and `predictions_out`.
"""

import csv
import io
from typing import Any

import msgspec

from pipeline.models.routing import CHALLENGER, CHAMPION
from pipeline.service.calls import CSV, JSON, JSON_LINES
from pipeline.service.instances.forms import COLUMNS
from pipeline.service.instances.signature import Signature
from pipeline.service.openapi import INSTANCE, Schema, content, example_instance, listed
from pipeline.service.predict.predictor import WORDS

PREDICTION: Schema = {
    "type": "object",
    "required": ["satisfaction", "satisfied", "model_version", "role", "words"],
    "properties": {
        "satisfaction": {"type": "number", "minimum": 0, "maximum": 1, "description": "How likely satisfied."},
        "satisfied": {"type": "boolean", "description": "Whether that is at or above the threshold."},
        "model_version": {"type": "string", "description": "The model version that said so."},
        "role": {"enum": [CHAMPION, CHALLENGER]},
        "words": {"type": "string", "description": "The same for a person."},
        "features_week": {"type": "string", "format": "date", "description": "The week whose snapshot completed it."},
    },
    "additionalProperties": False,
}
BAD_ROW: Schema = {
    "type": "object",
    "required": ["error", "expected", "do"],
    "properties": {name: {"type": "string"} for name in ("error", "expected", "do", "field")},
    "additionalProperties": False,
}
"""What stands in a bad row's place."""
EXAMPLE: Schema = {
    "satisfaction": 0.87,
    "satisfied": True,
    "model_version": "3",
    "role": CHAMPION,
    "words": WORDS[True][87],
}


def instances_in(signature: Signature | None, most_rows: int, *, header: bool) -> dict[str, Schema]:
    """Return the body's media types.

    Parameters
    ----------
    signature
        Of the model in charge, for the examples.
    most_rows
        Of a request.
    header
        Whether CSV has one where the media type does not say.
    """
    example = example_instance(signature)
    envelope = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": listed(INSTANCE, minItems=1, maxItems=most_rows)},
        "additionalProperties": False,
    }
    says = "the first one names the columns, in any order" if header else "without a header, in the model's order"
    return {
        JSON: content(envelope, {"instances": [example]}),
        CSV: content(
            _text(f"Lines of cells (RFC 4180), {says}; an empty cell is missing."), _csv(example, header=header)
        ),
        JSON_LINES: content(_text("An instance a line."), _line(example)),
    }


def predictions_out(*, bad_rows: bool, header: bool = True) -> dict[str, Schema]:
    """Return the answer's media types; `bad_rows` says whether an error can stand in a row's place."""
    one: Schema = {"anyOf": [PREDICTION, BAD_ROW]} if bad_rows else PREDICTION
    envelope = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": listed(one)},
        "additionalProperties": False,
    }
    in_columns = {name: EXAMPLE.get(name) for name in COLUMNS}
    return {
        JSON: content(envelope, {"predictions": [EXAMPLE]}),
        CSV: content(_text(f"The columns {', '.join(COLUMNS)}."), _csv(in_columns, header=header)),
        JSON_LINES: content(_text("A prediction a line."), _line(EXAMPLE)),
    }


def _text(says: str) -> Schema:
    return {"type": "string", "description": says}


def _csv(row: dict[str, Any], *, header: bool) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(row)
    writer.writerow(["true" if cell is True else cell for cell in row.values()])
    return text.getvalue()


def _line(row: dict[str, Any]) -> str:
    return msgspec.json.encode(row).decode() + "\n"
