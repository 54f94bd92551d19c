"""The forms of instances and predictions: JSON, JSON Lines, CSV; shared by our own API and the clouds'.

The entry points are `read` (the body to instances), `negotiated` (which form the answer has) and `written`.
"""

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from typing import TypeVar

import msgspec

from pipeline.errors import RequestError
from pipeline.service.bodies import raw_rows
from pipeline.service.calls import CSV, JSON, JSON_LINES, Answer, Call
from pipeline.service.predictor import Prediction
from pipeline.service.signature import Complete, Instances, Signature

SMALL_BYTES = 32_768
"""A larger body is read in a thread, so that others need not wait."""
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

Rows = TypeVar("Rows", bound=Sized)


class BadRow(msgspec.Struct, omit_defaults=True):
    """What is wrong with an instance, in its place among the predictions."""

    error: str
    expected: str
    do: str
    field: str | None = None


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
    if form is JSON and len(call.body) <= SMALL_BYTES and (instances := signature.fast(call.body)) is not None:
        return checked(instances, most_rows)
    objects = partial(signature.objects, on_error_row=on_error_row, complete=complete)

    def instances_of() -> Instances:
        if form is JSON:
            return signature.fast(call.body) or objects(limited(raw_rows(call.body), most_rows))
        if form is JSON_LINES:
            return objects(limited(lines(call.body), most_rows))
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
    media = call.media
    form = FORMS.get(media.name)
    if form is None or media.parameters.get("charset", "utf-8") not in UTF_8:
        raise RequestError(
            status=415,
            found=f"The body's media type is {call.headers.get(b'content-type', b'').decode('latin-1')[:80]!r}.",
            expected=f"one of {', '.join(FORMS)}, in UTF-8.",
            do="name the body's type in the header Content-Type.",
        )
    return form


def negotiated(call: Call, default: str = JSON, forms: Mapping[str, str] = FORMS) -> str:
    """Return the form that the header Accept prefers among these, by media type.

    Raises
    ------
    RequestError
        406 when it takes none of them.
    """
    accept = call.headers.get(b"accept", b"*/*")
    if accept == b"*/*" or not accept:
        return default
    if accept == b"application/json" and forms is FORMS:
        return JSON
    wanted = sorted(map(_preference, accept.decode("latin-1").lower().split(",")), key=lambda pair: -pair[0])
    for quality, kind in wanted:
        if quality > 0 and (form := _offered(kind, default, forms)):
            return form
    raise RequestError(
        status=406,
        found=f"The header Accept takes none of our forms: {accept.decode('latin-1')[:80]!r}.",
        expected=f"one of {', '.join(forms)}.",
        do="ask for one of them, or leave the header out.",
    )


def written(predictions: Sequence[Prediction], instances: Instances, form: str, *, header: bool = True) -> Answer:
    """Return the answer: one line or element for each row of the request, in order."""
    rows = in_order(predictions, instances)
    if form is JSON:
        return Answer(_encode({"predictions": rows}))
    if form is JSON_LINES:
        return Answer(msgspec.json.Encoder().encode_lines(rows), JSON_LINES)
    return Answer(_csv(rows, header=header), f"{CSV}; charset=utf-8; header={'present' if header else 'absent'}")


def in_order(predictions: Sequence[Prediction], instances: Instances) -> Sequence[Prediction | BadRow]:
    """Return for each row of the request its prediction, or what is wrong with it."""
    if not instances.bad:
        return predictions
    good = iter(predictions)
    return [bad_row(instances.bad[row]) if row in instances.bad else next(good) for row in range(instances.rows)]


def bad_row(error: RequestError) -> BadRow:
    """Return an error as it stands in a row's place."""
    return BadRow(error.found, error.expected, error.do, error.field)


def lines(body: bytes) -> list[msgspec.Raw]:
    """Return the lines of JSON Lines, not decoded yet; empty ones are passed over."""
    return [msgspec.Raw(line) for line in body.splitlines() if line.strip()]


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
        text = call.body.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(
            status=400, found=f"The body is no CSV: {error}.", expected="CSV in UTF-8.", do="mend the body."
        ) from None
    if not header:
        return None, rows
    if not rows:
        raise RequestError(
            status=400, found="The body is empty.", expected="a line with the columns' names.", do="send a header."
        )
    return rows[0], rows[1:]


def limited(rows: Rows, most: int) -> Rows:
    """Return the rows, if they are not too many.

    Raises
    ------
    RequestError
        413.
    """
    if len(rows) > most:
        raise RequestError(
            status=413,
            found=f"The request has {len(rows)} rows.",
            expected=f"at most {most}.",
            do="send several requests, or a file: POST /batch-predictions.",
        )
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
        raise RequestError(status=422, found="The request has no instances.", expected="at least one.", do="send one.")
    return instances


_encode = msgspec.json.Encoder().encode


def _csv(rows: Sequence[Prediction | BadRow], *, header: bool) -> bytes:
    text = io.StringIO(newline="")
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
    return text.getvalue().encode()


def _preference(part: str) -> tuple[float, str]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
    try:
        return float(quality), kind
    except ValueError:
        return 0.0, kind


def _offered(kind: str, default: str, forms: Mapping[str, str]) -> str | None:
    if kind == "*/*":
        return default
    if kind.endswith("/*"):
        return next((form for name, form in forms.items() if name.startswith(kind[:-1])), None)
    return forms.get(kind)
