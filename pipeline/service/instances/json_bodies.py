"""Bodies of JSON as msgspec's types, and what is wrong with them: `decoded`, `raw_rows`, `check_utf_8`."""

from functools import lru_cache
from typing import Any

import msgspec

from pipeline.errors import RequestError

SHOWN_CHARACTERS = 80


def raw_rows(body: bytes, name: str = "instances") -> list[msgspec.Raw]:
    """Return the elements of `{name: […]}`, not decoded yet.

    Raises
    ------
    RequestError
        400 when the body is no JSON, 422 when it is no such object.
    """
    rows: list[msgspec.Raw] = getattr(decoded(body, envelope(name, msgspec.Raw)), name)
    return rows


def decoded(body: bytes, kind: Any) -> Any:
    """Return a body of JSON as a type of msgspec's.

    Raises
    ------
    RequestError
        400 when it is no JSON, 422 when it is of another form.
    """
    check_utf_8(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(
            422, f"The body has another form: {cut(str(error))}.", "the form that /docs shows.", "mend the body."
        ) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(
            400, f"The body is no JSON: {cut(str(error))}.", "JSON in UTF-8.", "mend the body."
        ) from None


def check_utf_8(text: bytes) -> None:
    """Refuse what no JSON is; msgspec would not see it in what is to be decoded later (`msgspec.Raw`).

    Raises
    ------
    RequestError
        400.
    """
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            400, f"What should be JSON is not UTF-8 at byte {error.start}.", "JSON in UTF-8.", "mend the body."
        ) from None


@lru_cache(maxsize=32)
def envelope(name: str, kind: Any) -> Any:
    """Return the type of an object with nothing but a list of `kind`."""
    return msgspec.defstruct("Body", [(name, list[kind])], forbid_unknown_fields=True)


def cut(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Return what was sent as far as an error quotes it."""
    return text if len(text) <= most else text[: most - 1] + "…"
