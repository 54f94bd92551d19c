"""The forms of instances and predictions: JSON, JSON Lines, CSV; shared by our own API and the clouds'.

The entry points are `read` (the body to instances), `negotiated` (which form the answer has) and `written`.
"""

import asyncio
import csv
import io
import re
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from typing import TypeVar

import msgspec
from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, JSON_LINES, Call
from pipeline.service.instances.json_bodies import check_utf_8, cut, raw_rows
from pipeline.service.instances.signature import Complete, Instances, Signature
from pipeline.service.predict.predictor import Prediction

SMALL_BYTES = 32_768
"""A larger body is read in a thread, so that others need not wait; and so is whatever is no plain JSON."""
FORMS = {
    "application/json": JSON,
    "text/csv": CSV,
    "application/jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}
"""Media types of bodies and answers, and the form that each means."""
COLUMNS = ("satisfaction", "satisfied", "model_version", "role", "words", "features_week", "error")
"""Of an answer in CSV; the last one says what is wrong with the row."""
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")  # some leave out the zero: Java's HttpURLConnection sends q=.2

Rows = TypeVar("Rows", bound=Sized)


class BadRow(msgspec.Struct, omit_defaults=True):
    """What is wrong with an instance, in its place among the predictions."""

    error: str
    expected: str
    do: str
    field: str | None = None


def at_once(call: Call, signature: Signature, most_rows: int) -> Instances | None:
    """Return the instances of a short, plain body in JSON without a fault; None: `read` is to look at it closely.

    Raises
    ------
    RequestError
        413 or 422, when there are too many instances or none.
    """
    if call.fields.get(b"content-type") != b"application/json" or len(call.content) > SMALL_BYTES:
        return None
    instances = signature.fast(call.content)
    return None if instances is None else checked(instances, most_rows)


async def read(
    call: Call, signature: Signature, *, header: bool, on_error_row: bool, complete: Complete | None, most_rows: int
) -> Instances:
    """Return the instances of a body in JSON (`{"instances": […]}`), JSON Lines or CSV.

    Parameters
    ----------
    header
        Whether the first line of CSV names the columns, where the media type's parameter does not say.
    on_error_row
        Whether a bad row is noted and the others go on.
    complete
        What gives the features that are left out; see `Signature.objects`.
    most_rows
        More are refused.

    Raises
    ------
    RequestError
        400, 413, 415 or 422: what is wrong with the body.
    """
    form = form_of(call)
    objects = partial(signature.objects, on_error_row=on_error_row, complete=complete)

    def instances_of() -> Instances:
        if form is JSON:
            return signature.fast(call.content) or objects(limited(raw_rows(call.content), most_rows))
        if form is JSON_LINES:
            return objects(limited(lines(call.content), most_rows))
        names, rows = cells(call, header=header)
        return signature.texts(names, limited(rows, most_rows), on_error_row=on_error_row, complete=complete)

    return checked(await asyncio.to_thread(instances_of), most_rows)


def form_of(call: Call) -> str:
    """Return which form the body has, by its media type.

    Raises
    ------
    RequestError
        415 when it is none of ours, or in another encoding than UTF-8.
    """
    return FORMS[media_type_among(call, *FORMS)]


def media_type_among(call: Call, *allowed: str) -> str:
    """Return the body's media type, empty when the request names none.

    Raises
    ------
    RequestError
        415 when it is not allowed, in another encoding than UTF-8, or unclear about the header of CSV.
    """
    media = call.media
    if media.name not in allowed or media.parameters.get("charset", "utf-8") not in UTF_8:
        raise RequestError(
            415,
            f"The body's media type is {call.fields.get(b'content-type', b'').decode('latin-1')[:80]!r}.",
            f"{' or '.join(filter(None, allowed))}, in UTF-8.",
            "name the body's type in the header Content-Type.",
        )
    if media.name == CSV and media.parameters.get("header", "present") not in {"present", "absent"}:
        raise RequestError(
            415,
            f"The body's media type says header={cut(media.parameters['header'])!r}.",
            "header=present or header=absent, or neither.",
            "say whether the first line names the columns.",
        )
    return media.name


def negotiated(call: Call, default: str = JSON, forms: Mapping[str, str] = FORMS) -> str:
    """Return the form that the header Accept prefers among these, by media type.

    Raises
    ------
    RequestError
        406 when it takes none of them.
    """
    accept = call.fields.get(b"accept", b"*/*")
    if accept == b"*/*" or not accept:
        return default
    if accept == b"application/json" and forms is FORMS:
        return JSON
    form = _preferred(_qualities(accept), default, forms)
    if form is not None:
        return form
    raise RequestError(
        406,
        f"The header Accept takes none of our forms: {accept.decode('latin-1')[:80]!r}.",
        f"one of {', '.join(forms)}.",
        "ask for one of them, or leave the header out.",
    )


def written(predictions: Sequence[Prediction], instances: Instances, form: str, *, header: bool = True) -> Response:
    """Return the answer: one line or element for each row of the request, in order."""
    rows = in_order(predictions, instances)
    if form is JSON:
        return Response(_encode({"predictions": rows}), media_type=JSON)
    if form is JSON_LINES:
        return Response(msgspec.json.Encoder().encode_lines(rows), media_type=JSON_LINES)
    media_type = f"{CSV}; charset=utf-8; header={'present' if header else 'absent'}"
    return Response(_csv(rows, header=header), media_type=media_type)


def in_order(predictions: Sequence[Prediction], instances: Instances) -> Sequence[Prediction | BadRow]:
    """Return for each row of the request its prediction, or what is wrong with it."""
    if not instances.bad:
        return predictions
    good = iter(predictions)
    return [bad_row(instances.bad[row]) if row in instances.bad else next(good) for row in range(instances.rows)]


def bad_row(error: RequestError) -> BadRow:
    """Return an error as it stands in a row's place."""
    return BadRow(error.found, error.expected, error.do, error.field)


def lines(body: bytes) -> list[msgspec.Raw | RequestError]:
    """Return the lines of JSON Lines, not decoded yet, or that they are no UTF-8; empty ones are passed over."""
    return [_line(line) for line in body.splitlines() if line.strip()]


def cells(call: Call, *, header: bool) -> tuple[list[str] | None, list[list[str]]]:
    """Return the names of the columns (None: it has no header) and the rows of a body in CSV (RFC 4180).

    Raises
    ------
    RequestError
        400 when it is no CSV in UTF-8.
    """
    said = call.media.parameters.get("header")
    if said is not None:
        header = said == "present"
    try:
        text = call.content.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(400, f"The body is no CSV: {error}.", "CSV in UTF-8.", "mend the body.") from None
    if not header:
        return None, rows
    if not rows:
        raise RequestError(400, "The body is empty.", "a line with the columns' names.", "send a header.")
    return rows[0], rows[1:]


def limited(rows: Rows, most: int) -> Rows:
    """Return the rows, if they are not too many.

    Raises
    ------
    RequestError
        413.
    """
    if len(rows) > most:
        raise RequestError(413, f"The request has {len(rows)} rows.", f"at most {most}.", "send several requests.")
    return rows


def checked(instances: Instances, most: int) -> Instances:
    """Return the instances, if there are any and not too many.

    Raises
    ------
    RequestError
        413, or 422 when there are none.
    """
    limited(instances.values, most)
    if not instances.rows:
        raise RequestError(422, "The request has no instances.", "at least one.", "send one.")
    return instances


_encode = msgspec.json.Encoder().encode


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
            likely = "true" if row.satisfied else "false"
            writer.writerow(
                [repr(row.satisfaction), likely, row.model_version, row.role, row.words, row.features_week, None]
            )
    text.flush()
    return content.getvalue()


def _line(line: bytes) -> msgspec.Raw | RequestError:
    try:
        check_utf_8(line)
    except RequestError as error:
        return error
    return msgspec.Raw(line)


def _qualities(accept: bytes) -> dict[str, float]:
    """Return how much each range of the header Accept is wanted, in its order."""
    qualities: dict[str, float] = {}
    for part in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        said = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        quality = min(float(said), 1.0) if _NUMBER.fullmatch(said) else 0.0
        qualities[kind] = max(quality, qualities.get(kind, 0.0))
    return qualities


def _preferred(qualities: Mapping[str, float], default: str, forms: Mapping[str, str]) -> str | None:
    """Return the form that is wanted most, of several the one named first, then the default; None: it wants none.

    Of the ranges that a media type is in the narrowest counts (RFC 9110, 12.5.1). A form with one name that is not
    wanted at all is none, whatever it is called besides.
    """
    order = [*qualities]
    unwanted = {form for name, form in forms.items() if qualities.get(name) == 0}
    ranked = []
    for name, form in forms.items():
        ranges = (name, name.partition("/")[0] + "/*", "*/*")
        kind = next((kind for kind in ranges if kind in qualities), None)
        if kind is not None and form not in unwanted:
            ranked.append((qualities[kind], -order.index(kind), form == default, form))
    best = max(ranked, key=lambda rank: rank[:3], default=None)
    return best[-1] if best and best[0] > 0 else None
