"""API keys in the service: who asks, and whether they may. Keys change without a restart.

The front asks before it lets a request through; `pipeline.service.access.key_file` has the file. The entry point is
`Keyring`.
"""

import binascii
import hmac
import logging
import time
from base64 import b64decode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import get_args

from pipeline.errors import ConfigError, RequestError
from pipeline.service.access import key_file
from pipeline.service.calls import AccessScope

LOOK_SECONDS = 1.0
"""How often it is looked whether the file has changed."""
NOBODYS = bytes(32)
"""Compared with for an unknown id, so that the time tells nothing of which ids there are."""
CHALLENGE = {"www-authenticate": 'Basic realm="Barometer", Bearer'}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks."""

    name: str
    scopes: frozenset[AccessScope]
    """admin has them all."""

    def demand(self, scope: AccessScope) -> None:
        """Refuse what the key is not allowed.

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


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    expires_at: float
    """Seconds since the epoch; infinite for never."""
    key: Key


class Keyring:
    """The keys of a file, as it stands.

    A file that is broken leaves those in charge that were read last; one that is taken away leaves none.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ConfigError
        If the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trouble: str | None = None
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._seen: key_file.Identity | None = None
        self._known: dict[bytes, _Known] = {}
        self._take(*key_file.read(path))

    @property
    def trouble(self) -> str | None:
        """What is wrong with the file, for the operators; None when nothing is."""
        self._look_if_due()
        return self._trouble

    def check(self, authorization: bytes | None, api_key: bytes | None) -> Key:
        """Return who asks.

        Parameters
        ----------
        authorization, api_key
            The headers Authorization (Bearer, or Basic with the key as the password) and X-API-Key, which comes first.

        Raises
        ------
        RequestError
            401 when there is no key, or one that is unknown, revoked or expired.
        """
        self._look_if_due()
        token = api_key if api_key is not None else _token(authorization)
        _, _, rest = token.partition(b"_")
        key_id, _, secret = rest.partition(b"_")
        known = self._known.get(key_id)
        is_same = hmac.compare_digest(sha256(secret).digest(), known.digest if known else NOBODYS)
        if known is None or not is_same or not token.startswith(b"bm_"):
            raise _refused("The API key is unknown or was revoked." if token else "The request carries no API key.")
        if known.expires_at <= time.time():
            raise _refused(f"The API key {known.key.name!r} has expired.")
        return known.key

    def _look_if_due(self) -> None:
        """Read the file again if it has changed, at most once in a while."""
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
            self._trouble = f"{error} The keys that were read before stay in charge."
            log.error("%s", self._trouble)  # noqa: TRY400 - the error says it all
        else:
            log.info("The API keys were read again: %s", self._trouble or f"{len(self._known)} keys")

    def _take(self, entries: list[key_file.Entry], seen: key_file.Identity | None) -> None:
        self._seen = seen
        self._known = {entry.id.encode(): _known(entry) for entry in entries}
        self._trouble = None
        if not entries:
            self._trouble = f"There are no API keys in {self._path}: barometer keys create NAME --scope predict."


def _known(entry: key_file.Entry) -> _Known:
    scopes = frozenset(get_args(AccessScope) if "admin" in entry.scopes else entry.scopes)
    expires_at = entry.expires_at.timestamp() if entry.expires_at else float("inf")
    return _Known(bytes.fromhex(entry.sha256), expires_at, Key(entry.name, scopes))


def _token(authorization: bytes | None) -> bytes:
    """Return the key that the header Authorization holds; empty when none."""
    if authorization is None:
        return b""
    scheme, _, given = authorization.partition(b" ")
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
        headers=CHALLENGE,
    )
