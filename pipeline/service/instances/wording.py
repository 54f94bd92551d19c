"""The words for what is wrong with an instance: the field, what was found in it, what it should be."""

from collections.abc import Iterable

from pipeline.errors import RequestError

SHOWN_CHARACTERS = 80


def bad(found: str, expected: str, name: str | None = None) -> RequestError:
    """Return an error of an instance, or of its field `name`."""
    return RequestError(422, f"In an instance {found}.", f"{expected}.", "correct that instance.", field=name)


def describe(error: RequestError) -> str:
    """Return an error as one text, for contracts that have no place of their own for the row and the field."""
    where = [f"{name} {value}" for name in ("row", "field") if (value := getattr(error, name)) is not None]
    return f"[{', '.join(where)}] {error}" if where else str(error)


def join(names: Iterable[str], most: int = SHOWN_CHARACTERS) -> str:
    """Return names with commas between them, cut, since an answer may repeat them for thousands of bad rows."""
    return cut(", ".join(names), most)


def cut(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Return text that an error quotes, cut to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
