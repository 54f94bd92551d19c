"""What is wrong with an instance, in words: the field, what it is, what it should be.

Part of `pipeline.service.instances.signature`; the entry points are `bad`, `explained` and `listed`.
"""

import re
from collections.abc import Callable, Iterable

from pipeline.errors import RequestError
from pipeline.service.instances.json_bodies import cut

_JSON_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
"""What JSON's kinds are called, by msgspec's names."""


def bad(found: str, expected: str, name: str | None = None) -> RequestError:
    """Return an error of an instance, or of its field `name`."""
    return RequestError(422, f"In an instance {found}.", f"{expected}.", "mend that instance.", field=name)


def explained(error: Exception, known: Iterable[str], wanted: Callable[[str | None], str]) -> RequestError:
    """Return what msgspec says of an instance, with the field.

    Parameters
    ----------
    error
        Msgspec's.
    known
        The fields that an instance may have.
    wanted
        Says what a field should be; of None, the instance.
    """
    said = str(error)
    unknown = re.search(r"unknown field `(.*)`", said, re.DOTALL)
    if unknown:
        return bad(f"it has the unknown field {cut(unknown[1])!r}", f"only {listed(known)}", cut(unknown[1]))
    at, got = re.search(r" - at `\$\.(.*)`$", said, re.DOTALL), re.search(r"got `(\w+)`", said)
    name = at[1] if at else None
    is_what = f"is {_JSON_KINDS.get(got[1], got[1])}" if got else "is out of range" if at else cut(said)
    return bad(f"{name!r} {is_what}" if name else f"the whole {is_what}", wanted(name), name)


def listed(names: Iterable[str], most: int = 80) -> str:
    """Return names, of many the first: what is wrong with a row can stand in the place of each of very many."""
    return cut(", ".join(map(str, names)), most)
