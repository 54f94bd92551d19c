"""Who may ask: the host that a request names, the page that it comes from, and its API key.

The front asks before it reads a body. Entry points: `admit`, and `Keyring`, which has the keys
of `access.key_file`.
"""

import binascii
import hmac
import logging
import time
from base64 import b64decode
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from pipeline.errors import ConfigError, RequestError
from pipeline.service.access import key_file
from pipeline.service.access.key_file import Key
from pipeline.service.calls import Call, Route
from pipeline.settings.service import LOOPBACK

LOOK_SECONDS = 1.0
"""How often the keyring reads the file."""
UNKNOWN = "0" * 64
"""The digest that is compared with for an unknown id, so that the time taken does not show which ids exist."""
LISTS = (b"accept", b"content-encoding", b"if-none-match")
"""Headers that may come in several lines, each a part of one list (RFC 9110, 5.3)."""

log = logging.getLogger(__name__)


class Keyring:
    """The keys of a file, read again once a second, so that they change without a restart.

    While the file is broken, the keys that were read last stay valid; when it is removed, no key is. Raises
    `ConfigError` if the file cannot be read at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problem: str | None = None
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._keys = self._read()

    @property
    def problem(self) -> str | None:
        """What is wrong with the file, for the operators; None when nothing is."""
        self._look_if_due()
        return self._problem

    def check(self, authorization: bytes | None, api_key: bytes | None) -> Key:
        """Return the key of a request, from its headers X-API-Key, which counts first, or Authorization.

        Raises RequestError 401 when there is no key, or one that is unknown, revoked or expired.
        """
        self._look_if_due()
        token = api_key if api_key is not None else _token(authorization)
        prefix, _, rest = token.partition(b"_")
        key_id, _, secret = rest.partition(b"_")
        key = self._keys.get(key_id)
        is_same = hmac.compare_digest(sha256(secret).hexdigest(), key.sha256 if key else UNKNOWN)
        if key is None or not is_same or prefix != b"bm":
            raise _refused("The API key is unknown or was revoked." if token else "The request carries no API key.")
        if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
            raise _refused(f"The API key {key.name!r} has expired.")
        return key

    def _look_if_due(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        before, problem_before = self._keys, self._problem
        try:
            self._keys = self._read()
        except ConfigError as error:
            self._problem = f"{error} The keys that were read before stay valid."
        if self._problem and self._problem != problem_before:
            log.error("%s", self._problem)
        elif self._keys != before:
            log.info("The API keys were read again: %d keys", len(self._keys))

    def _read(self) -> dict[bytes, Key]:
        keys = {key.id.encode(): key for key in key_file.read(self._path)}
        create = f"There are no API keys in {self._path}: barometer keys create NAME --scope predict."
        self._problem = None if keys else create
        return keys


def admit(call: Call, route: Route, keyring: Keyring | None, *, only_loopback: bool) -> None:
    """Let a request through, with its key noted and its repeated headers joined, or refuse it.

    Without a keyring everybody may ask; `only_loopback` answers only for this machine's own names for itself. Raises
    RequestError 400 for two hosts, 421 for another host, 403 for another site's page or a key that is not allowed this,
    401 without a good key.
    """
    if len(call.scope["headers"]) != len(call.fields):
        _join_repeated(call)
    if only_loopback and _host(call.fields.get(b"host", b"")) not in LOOPBACK:
        expected = "127.0.0.1 or localhost, the only names that this service answers to."
        do = "use that address; to be reached from elsewhere set service.host and service.auth."
        raise RequestError(421, "The header Host names another host.", expected, do)
    if route.method != "GET":
        _check_origin(call)
    if keyring is not None and route.scope is not None:
        key = keyring.check(call.fields.get(b"authorization"), call.fields.get(b"x-api-key"))
        call.key_name, call.key_scopes = key.name, key.allowed
        if route.scope not in key.allowed:
            found = f"The API key {key.name!r} may {', '.join(sorted(key.allowed))}."
            do = f"use another key; barometer keys create NAME --scope {route.scope} makes one."
            raise RequestError(403, found, f"a key with the scope {route.scope}.", do)


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
        found, do = "The request comes from another site's page.", "call the API from a server, not from a page."
        raise RequestError(403, found, "a program, or a page of this service.", do)


def _token(authorization: bytes | None) -> bytes:
    """Return the key that the header Authorization holds (Bearer, or Basic's password); empty when it holds none."""
    scheme, _, given = (authorization or b"").partition(b" ")
    if (lower := scheme.lower()) == b"bearer":
        return given.strip()
    if lower != b"basic":
        return b""
    try:
        return b64decode(given.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _refused(found: str) -> RequestError:
    expected = "a key in the header X-API-Key or Authorization: Bearer, or as the password of a login."
    do = "ask the service's operators for one; barometer keys create NAME --scope predict makes it."
    return RequestError(401, found, expected, do, headers={"www-authenticate": 'Basic realm="Barometer", Bearer'})
