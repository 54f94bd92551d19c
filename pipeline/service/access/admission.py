"""Who may ask: the host that a request names, the page that it comes from, and its API key.

The front asks before it reads a body. The one entry point is `admit`.
"""

from functools import lru_cache

from pipeline.errors import RequestError
from pipeline.service.access.keys import Keyring
from pipeline.service.calls import Call, Route
from pipeline.settings.service import LOOPBACK

LISTS = (b"accept", b"content-encoding", b"if-none-match")
"""Headers that may come in several lines, each a part of one list (RFC 9110, 5.3)."""


def admit(call: Call, route: Route, keyring: Keyring | None, *, only_loopback: bool) -> None:
    """Let a request through, with its key's name and scopes noted, or refuse it.

    Parameters
    ----------
    call, route
        The request, its headers joined if they are repeated, and what it asks for.
    keyring
        The keys; None: everybody may ask.
    only_loopback
        Whether only this machine's own names for itself are answered for.

    Raises
    ------
    RequestError
        400 for two hosts, 421 for another host, 403 for another site's page or a key that is not allowed this, 401
        without a good key.
    """
    given = call.scope["headers"]
    if len(given) != len(call.fields):
        _join_repeated(call)
    if only_loopback and _host(call.fields.get(b"host", b"")) not in LOOPBACK:
        raise RequestError(
            421,
            "The header Host names another host.",
            "127.0.0.1 or localhost, the only names that this service answers to.",
            "use that address; to be reached from elsewhere set service.host and service.auth.",
        )
    if route.method != "GET":
        _check_origin(call)
    if keyring is not None and route.scope is not None:
        key = keyring.check(call.fields.get(b"authorization"), call.fields.get(b"x-api-key"))
        call.key_name, call.key_scopes = key.name, key.allowed
        if route.scope not in key.allowed:
            raise RequestError(
                403,
                f"The API key {key.name!r} may {', '.join(sorted(key.allowed))}.",
                f"a key with the scope {route.scope}.",
                f"use another key; barometer keys create NAME --scope {route.scope} makes one.",
            )


def _join_repeated(call: Call) -> None:
    """Keep one value of each header that comes several times: of a list all, of others the last."""
    given = call.scope["headers"]
    if [name for name, _ in given].count(b"host") > 1:
        raise RequestError(400, "The header Host comes more than once.", "one Host.", "correct the client.")
    joined = {name: b", ".join(value for other, value in given if other == name) for name in LISTS}
    call.fields = {name: joined.get(name, value) for name, value in call.fields.items()}
    call.scope["headers"] = [*call.fields.items()]


@lru_cache(maxsize=256)
def _host(header: bytes) -> str:
    """Return the host of a header Host, without its port."""
    text = header.decode("latin-1").lower()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _check_origin(call: Call) -> None:
    """Refuse what a page of another site has a browser send: the browser would add the person's key."""
    origin = call.fields.get(b"origin")
    is_ours = origin is None or origin.partition(b"://")[2] == call.fields.get(b"host")
    if not is_ours or call.fields.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
        raise RequestError(
            403,
            "The request comes from another site's page.",
            "a program, or a page of this service.",
            "call the API from a server, not from a page.",
        )
