"""The forms of bodies and answers, by media type: which one a request has, and which one its answer shall have.

Entry points: `media_type_among` and `form_of` for the body, `negotiated` for the answer.
"""

import re
from collections.abc import Mapping

from pipeline.errors import RequestError
from pipeline.service.calls import CSV, JSON, JSON_LINES, Call
from pipeline.service.instances.wording import cut

FORMS = {
    "application/json": JSON,
    "text/csv": CSV,
    "application/jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}
"""The form that each media type means."""
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
"""A quality; some clients leave out the zero: Java's HttpURLConnection sends q=.2."""


def form_of(call: Call) -> str:
    """Return the body's form; errors as `media_type_among`."""
    return FORMS[media_type_among(call, *FORMS)]


def media_type_among(call: Call, *allowed: str) -> str:
    """Return the body's media type, empty if the request names none.

    Raises
    ------
    RequestError
        415 if it is not allowed, has another encoding than UTF-8, or is unclear about the header of CSV.
    """
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
    """Return the form that the header Accept prefers among these, by media type; of equal ones the one named first.

    A media type has the quality of the narrowest range that it is in (RFC 9110, 12.5.1). A form is refused if any of
    its names has the quality 0.

    Raises
    ------
    RequestError
        406 if it accepts none of them.
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
