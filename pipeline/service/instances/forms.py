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
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")  # some leave out the zero: Java's HttpURLConnection sends q=.2


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
    media = call.media
    if media.name not in allowed or media.parameters.get("charset", "utf-8") not in UTF_8:
        raise RequestError(
            415,
            f"The body's media type is {cut(call.fields.get(b'content-type', b'').decode('latin-1'))!r}.",
            f"{' or '.join(filter(None, allowed))}, in UTF-8.",
            "name the body's type in the header Content-Type.",
        )
    if media.name == CSV and media.parameters.get("header", "present") not in {"present", "absent"}:
        raise RequestError(
            415,
            f"The body's media type says header={cut(media.parameters['header'])!r}.",
            "header=present, header=absent, or neither.",
            "say whether the first line names the columns.",
        )
    return media.name


def negotiated(call: Call, default: str = JSON, forms: Mapping[str, str] = FORMS) -> str:
    """Return the form that the header Accept prefers among these, by media type.

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
    form = _preferred(_qualities(accept.decode("latin-1").lower()), default, forms)
    if form is not None:
        return form
    raise RequestError(
        406,
        f"The header Accept takes none of our forms: {cut(accept.decode('latin-1'))!r}.",
        f"one of {', '.join(forms)}.",
        "ask for one of them, or leave the header out.",
    )


def _qualities(accept: str) -> dict[str, float]:
    """Return how much each range of the header Accept is wanted, in its order."""
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        said = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        quality = min(float(said), 1.0) if _NUMBER.fullmatch(said) else 0.0
        qualities[kind] = max(quality, qualities.get(kind, 0.0))
    return qualities


def _preferred(qualities: Mapping[str, float], default: str, forms: Mapping[str, str]) -> str | None:
    """Return the form that is wanted most, or None; of several the one named first, then the default.

    A media type has the quality of the narrowest range that it is in (RFC 9110, 12.5.1). A form is not wanted if any
    of its names has the quality 0.
    """
    order = [*qualities]
    unwanted = {form for name, form in forms.items() if qualities.get(name) == 0}
    ranked = []
    for name, form in forms.items():
        ranges = (name, name.partition("/")[0] + "/*", "*/*")
        kind = next((kind for kind in ranges if kind in qualities), None)
        if kind is not None and form not in unwanted and qualities[kind] > 0:
            ranked.append((qualities[kind], -order.index(kind), form == default, form))
    return max(ranked, key=lambda rank: rank[:3])[-1] if ranked else None
