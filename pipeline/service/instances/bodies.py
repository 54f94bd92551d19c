"""Bodies to rows that are not decoded yet: JSON, JSON Lines, CSV, and what is wrong with a body as a whole."""

import csv
import io
import json
import re
from typing import Any

import msgspec

from pipeline.errors import RequestError
from pipeline.service.calls import Call
from pipeline.service.instances.wording import cut


def decode(body: bytes, kind: Any) -> Any:
    """Return a body of JSON as a msgspec type; raise 400 if it is not JSON, 422 if it has another form."""
    check_utf_8(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        found = f"The body has another form: {cut(str(error))}."
        at = re.search(r" - at `\$\.(\w+)", str(error))
        expected, do = "the form that /docs shows.", "correct the body."
        raise RequestError(422, found, expected, do, field=at[1] if at else None) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _malformed(f"The body is not JSON: {cut(str(error))}.", "JSON in UTF-8.") from None


def check_utf_8(text: bytes) -> None:
    """Raise 400 for text that is not UTF-8; msgspec does not check what is decoded later (`msgspec.Raw`)."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise _malformed(f"The JSON is not UTF-8 at byte {error.start}.", "JSON in UTF-8.") from None


def raw_rows(body: bytes) -> list[msgspec.Raw]:
    """Return the elements of `{"instances": […]}`; errors as `decode`."""
    rows: list[msgspec.Raw] = decode(body, _RAW_ROWS).instances
    return rows


def envelope(kind: Any) -> Any:
    """Return the type of an object with nothing but `instances`, a list of `kind`."""
    return msgspec.defstruct("Body", [("instances", list[kind])], forbid_unknown_fields=True)


_RAW_ROWS = envelope(msgspec.Raw)


def null_for_nan(body: bytes) -> bytes:
    """Return a body of JSON with null for each NaN, which Python's encoder writes for a missing number.

    MLflow's and Triton's clients send it. All other numbers stay as they are written, and Infinity becomes a number
    that is out of range, so that it is refused later by its row and field. A body that is not JSON otherwise is
    returned as it is.
    """
    if b"NaN" not in body and b"Infinity" not in body:
        return body
    constants = {"Infinity": msgspec.Raw(b"1e999"), "-Infinity": msgspec.Raw(b"-1e999")}
    try:
        given = json.loads(body, parse_constant=constants.get, parse_float=_as_written, parse_int=_as_written)
        return msgspec.json.encode(given)
    except (ValueError, RecursionError):
        return body


def _as_written(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def json_lines(body: bytes) -> list[msgspec.Raw | RequestError]:
    """Return the lines of JSON Lines without the empty ones; an error for a line that is not UTF-8."""
    return [_line(line) for line in body.splitlines() if line.strip()]


def _line(line: bytes) -> msgspec.Raw | RequestError:
    try:
        check_utf_8(line)
    except RequestError as error:
        return error
    return msgspec.Raw(line)


def csv_rows(call: Call) -> tuple[list[str] | None, list[list[str]]]:
    """Return the columns' names and the rows of a body in CSV (RFC 4180); no names if it says `header=absent`."""
    try:
        text = call.content.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _malformed(f"The body is not CSV: {error}.", "CSV in UTF-8.") from None
    if call.media.parameters.get("header") == "absent":
        return None, rows
    if not rows:
        raise RequestError(400, "The body is empty.", "a line with the columns' names.", "send a header.")
    return rows[0], rows[1:]


def _malformed(found: str, expected: str) -> RequestError:
    return RequestError(400, found, expected, "correct the body.")
