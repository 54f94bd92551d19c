"""API keys in the service: who asks, and whether they may. Keys change without a restart.

`pipeline.service.access.admission` asks before a request goes on; `pipeline.service.access.key_file` has the file. The
entry point is `Keyring`.
"""

import binascii
import hmac
import logging
import time
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import get_args

from pipeline.errors import ConfigError, RequestError
from pipeline.service.access import key_file
from pipeline.service.calls import AccessScope

LOOK_SECONDS = 1.0
"""How often the keyring looks whether the file has changed."""
UNKNOWN_DIGEST = bytes(32)
"""Compared with for an unknown id, so that the time taken does not tell which ids exist."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks."""

    name: str
    scopes: frozenset[AccessScope]
    """A key with the scope admin has them all."""
    digest: bytes = field(repr=False, compare=False)
    expires_at: float
    """Seconds since the epoch; infinite for never."""

    def demand(self, scope: AccessScope) -> None:
        """Refuse what the key is not allowed to do.

        Raises
        ------
        RequestError
            403.
        """
        if scope not in self.scopes:
            raise RequestError(
                403,
                f"The API key {self.name!r} may {', '.join(sorted(self.scopes))}.",
                f"a key with the scope {scope}.",
                f"use another key; barometer keys create NAME --scope {scope} makes one.",
            )


class Keyring:
    """The keys of a file, read again when it changes.

    While the file is broken, the keys that were read last stay valid; when it is removed, no key is.

    Raises
    ------
    ConfigError
        If the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problem: str | None = None
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._seen: key_file.Identity | None = None
        self._keys: dict[bytes, Key] = {}
        self._take(*key_file.read(path))

    @property
    def problem(self) -> str | None:
        """What is wrong with the file, for the operators; None when nothing is."""
        self._look_if_due()
        return self._problem

    def check(self, authorization: bytes | None, api_key: bytes | None) -> Key:
        """Return who asks.

        Parameters
        ----------
        authorization, api_key
            The headers Authorization (Bearer, or Basic with the key as the password) and X-API-Key, which counts first.

        Raises
        ------
        RequestError
            401 when there is no key, or one that is unknown, revoked or expired.
        """
        self._look_if_due()
        token = api_key if api_key is not None else _token(authorization)
        prefix, _, rest = token.partition(b"_")
        key_id, _, secret = rest.partition(b"_")
        key = self._keys.get(key_id)
        is_same = hmac.compare_digest(sha256(secret).digest(), key.digest if key else UNKNOWN_DIGEST)
        if key is None or not is_same or prefix != b"bm":
            raise _refused("The API key is unknown or was revoked." if token else "The request carries no API key.")
        if key.expires_at <= time.time():
            raise _refused(f"The API key {key.name!r} has expired.")
        return key

    def _look_if_due(self) -> None:
        """Read the file again if it has changed, at most once every `LOOK_SECONDS`."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        try:
            seen = key_file.identity(self._path.stat())
        except OSError:
            seen = None
        if seen == self._seen:
            return
        try:
            self._take(*key_file.read(self._path))
        except ConfigError as error:
            self._seen = seen
            self._problem = f"{error} The keys that were read before stay valid."
            log.error("%s", self._problem)  # noqa: TRY400 - the error says it all
        else:
            log.info("The API keys were read again: %s", self._problem or f"{len(self._keys)} keys")

    def _take(self, entries: list[key_file.Entry], seen: key_file.Identity | None) -> None:
        self._seen = seen
        self._keys = {entry.id.encode(): _key(entry) for entry in entries}
        self._problem = None
        if not entries:
            self._problem = f"There are no API keys in {self._path}: barometer keys create NAME --scope predict."


def _key(entry: key_file.Entry) -> Key:
    scopes = frozenset(get_args(AccessScope) if "admin" in entry.scopes else entry.scopes)
    expires_at = entry.expires_at.timestamp() if entry.expires_at else float("inf")
    return Key(entry.name, scopes, bytes.fromhex(entry.sha256), expires_at)


def _token(authorization: bytes | None) -> bytes:
    """Return the key that the header Authorization holds; empty when it holds none."""
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
    return RequestError(
        401,
        found,
        "a key in the header X-API-Key or Authorization: Bearer, or as the password of a login.",
        "ask the service's operators for one; barometer keys create NAME --scope predict makes it.",
        headers={"www-authenticate": 'Basic realm="Barometer", Bearer'},
    )
