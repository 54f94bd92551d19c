"""API keys in the service: who asks. Keys change without a restart.

`pipeline.service.access.admission` asks before a request goes on; `pipeline.service.access.key_file` has the file. The
entry point is `Keyring`.
"""

import binascii
import hmac
import logging
import time
from base64 import b64decode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pipeline.errors import ConfigError, RequestError
from pipeline.service.access import key_file
from pipeline.service.access.key_file import Key

LOOK_SECONDS = 1.0
"""How often the keyring reads the file."""
UNKNOWN = "0" * 64
"""The digest that is compared with for an unknown id, so that the time taken does not tell which ids exist."""

log = logging.getLogger(__name__)


class Keyring:
    """The keys of a file, read again once a second.

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
        self._keys = self._by_id(key_file.read(path))

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
            self._keys = self._by_id(key_file.read(self._path))
        except ConfigError as error:
            self._problem = f"{error} The keys that were read before stay valid."
        if self._problem and self._problem != problem_before:
            log.error("%s", self._problem)
        elif self._keys != before:
            log.info("The API keys were read again: %d keys", len(self._keys))

    def _by_id(self, keys: list[Key]) -> dict[bytes, Key]:
        create = f"There are no API keys in {self._path}: barometer keys create NAME --scope predict."
        self._problem = None if keys else create
        return {key.id.encode(): key for key in keys}


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
