"""A request's body: its media type, its rows before they are decoded, what is wrong with it as a whole.

Entry points: `media_type_among` and `form_of` for the type, `negotiated` for that of the answer; `decode`, `raw_rows`,
`json_lines` and `csv_rows` for the content.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, JSON_LINES, JSON_LINES_NAMES, Call
from pipeline.service.instances.wording import cut

FORMS = {JSON: JSON, CSV: CSV, **dict.fromkeys(JSON_LINES_NAMES, JSON_LINES)}
"""The form that each media type means."""
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
"""A quality; some clients leave out the zero: Java's HttpURLConnection sends q=.2."""


def form_of(call: Call) -> str:
    """Return the body's form; errors as `media_type_among`."""
    return FORMS[media_type_among(call, *FORMS)]


def media_type_among(call: Call, *allowed: str) -> str:
    """Return the body's media type, empty if the request names none; raise 415 if it is not allowed or unclear."""
    name, parameters = call.media
    if name not in allowed or parameters.get("charset", "utf-8") not in UTF_8:
        found = f"The body's media type is {cut(call.fields.get(b'content-type', b'').decode('latin-1'))!r}."
        expected = f"{' or '.join(filter(None, allowed))}, in UTF-8."
        raise RequestError(415, found, expected, "name the body's type in the header Content-Type.")
    header = parameters.get("header", "present")
    if name == CSV and header not in {"present", "absent"}:
        found = f"The body's media type says header={cut(header)!r}."
        expected = "header=present, header=absent, or neither."
        raise RequestError(415, found, expected, "say whether the first line names the columns.")
    return name


def negotiated(call: Call, default: str = JSON, forms: Mapping[str, str] = FORMS) -> str:
    """Return the form that the header Accept prefers among these, by media type; raise 406 if it accepts none.

    A media type has the quality of the narrowest range that it is in (RFC 9110, 12.5.1). Of equal ones the one named
    first counts. A form is refused if any of its names has the quality 0.
    """
    accept = call.fields.get(b"accept", b"*/*")
    if accept == b"*/*" or not accept:
        return default
    if accept == b"application/json" and forms is FORMS:
        return JSON
    qualities = _qualities(accept.decode("latin-1").lower())
    order = [*qualities]
    refused = {form for name, form in forms.items() if qualities.get(name) == 0}
    ranked = []
    for name, form in forms.items():
        ranges = (name, name.partition("/")[0] + "/*", "*/*")
        kind = next((kind for kind in ranges if kind in qualities), None)
        if kind is not None and qualities[kind] > 0 and form not in refused:
            ranked.append(((qualities[kind], -order.index(kind), form == default), form))
    if not ranked:
        found = f"The header Accept takes none of our forms: {cut(accept.decode('latin-1'))!r}."
        do = "ask for one of them, or leave the header out."
        raise RequestError(406, found, f"one of {', '.join(forms)}.", do)
    return max(ranked, key=lambda rank: rank[0])[1]


def _qualities(accept: str) -> dict[str, float]:
    """Return how much each range of the header Accept is wanted, in its order."""
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        said = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        quality = min(float(said), 1.0) if NUMBER.fullmatch(said) else 0.0
        qualities[kind] = max(quality, qualities.get(kind, 0.0))
    return qualities


def decode(body: bytes, kind: Any) -> Any:
    """Return a body of JSON as a msgspec type; raise 400 if it is not JSON, 422 if it has another form."""
    _check_utf_8(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        found = f"The body has another form: {cut(str(error))}."
        at = re.search(r" - at `\$\.(\w+)", str(error))
        expected, do = "the form that /docs shows.", "correct the body."
        raise RequestError(422, found, expected, do, field=at[1] if at else None) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _malformed(f"The body is not JSON: {cut(str(error))}.", "JSON in UTF-8.") from None


def _check_utf_8(text: bytes) -> None:
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

    def as_written(number: str) -> msgspec.Raw:
        return msgspec.Raw(number.encode())

    constants = {"Infinity": msgspec.Raw(b"1e999"), "-Infinity": msgspec.Raw(b"-1e999")}
    try:
        given = json.loads(body, parse_constant=constants.get, parse_float=as_written, parse_int=as_written)
        return msgspec.json.encode(given)
    except (ValueError, RecursionError):
        return body


def json_lines(body: bytes) -> list[msgspec.Raw | RequestError]:
    """Return the lines of JSON Lines without the empty ones; an error for a line that is not UTF-8."""
    found: list[msgspec.Raw | RequestError] = []
    for line in filter(bytes.strip, body.splitlines()):
        try:
            _check_utf_8(line)
            found.append(msgspec.Raw(line))
        except RequestError as error:
            found.append(error)
    return found


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
