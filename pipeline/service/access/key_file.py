"""The file of API keys: who may ask the service, and for what. It holds digests, never a key itself.

`barometer keys` writes it, `pipeline.service.access.keys` reads it in the service. Entry points: `read`, `create`,
`revoke`.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.files import written_atomically
from pipeline.service.calls import AccessScope

SECRET_BYTES = 32
"""256 bits of chance: nothing to guess, so a plain digest keeps them."""


class Entry(BaseModel):
    """What is known of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8,}$")]
    name: Annotated[str, Field(pattern=r"^[\w .@/:-]{1,64}$")]
    """Whom or what it is for; the log names it."""
    scopes: Annotated[tuple[AccessScope, ...], Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the secret, as it stands in the key."""
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Entry] = []


Identity = tuple[int, ...]
"""Differs when the file does."""


def read(path: Path) -> tuple[list[Entry], Identity | None]:
    """Return the keys of a file, and the identity of what was read; none of either when there is no file.

    Raises
    ------
    ConfigError
        If others can read the file, or it is not as it was written.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
        if status.st_mode & 0o077:
            raise ConfigError(
                f"{path} has mode {status.st_mode & 0o777:o}: others can read who may ask the service.",
                "mode 600.",
                f"chmod 600 '{path}'.",
            )
        keys = _Content.model_validate_json(content).keys
    except FileNotFoundError:
        return [], None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if len({key.id for key in keys}) < len(keys):
        raise _unreadable(path, ValueError("two keys have the same id"))
    return keys, identity(status)


def identity(status: os.stat_result) -> Identity:
    """Return a file's identity; its mode is part of it, by the time of its last change."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def create(
    path: Path, name: str, scopes: Sequence[AccessScope], expires_in: timedelta | None = None
) -> tuple[Entry, str]:
    """Add a key to a file; return what is known of it, and the key itself, which is kept nowhere.

    Raises
    ------
    ConfigError
        If the file cannot be read, or the name is none.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with _locked(path):
        keys, _ = read(path)
        taken = {key.id for key in keys}
        new_id = next(found for found in iter(lambda: secrets.token_hex(4), None) if found not in taken)
        now = datetime.now(UTC).replace(microsecond=0)
        try:
            key = Entry(
                id=new_id,
                name=name,
                scopes=tuple(dict.fromkeys(scopes)),
                sha256=digest(secret.encode()),
                created_at=now,
                expires_at=now + expires_in if expires_in else None,
            )
        except ValidationError as error:
            raise ConfigError(
                f"{name[:80]!r} cannot be a key's name: {error.errors()[0]['msg']}.",
                "1 to 64 letters, digits, spaces and . @ / : _ -",
                "choose another name.",
            ) from None
        _write(path, [*keys, key])
    return key, f"bm_{key.id}_{secret}"


def revoke(path: Path, key_id: str) -> Entry:
    """Take a key out of a file and return what was known of it.

    Raises
    ------
    ConfigError
        If the file cannot be read or has no such key.
    """
    with _locked(path):
        keys, _ = read(path)
        gone = next((key for key in keys if key.id == key_id), None)
        if gone is None:
            raise ConfigError(
                f"There is no key with the id {key_id[:80]!r}.",
                "the id of one of those that barometer keys list shows.",
                "look there; a key's id is its part between the two first underscores.",
            )
        _write(path, [key for key in keys if key is not gone])
    return gone


def digest(secret: bytes) -> str:
    """Return what the file keeps of a secret."""
    return hashlib.sha256(secret).hexdigest()


def _write(path: Path, keys: list[Entry]) -> None:
    with written_atomically(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(_Content(keys=keys).model_dump_json(indent=1), encoding="utf-8")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time change a file. Its lock is a file of its own, since the file itself is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: Exception) -> ConfigError:
    # Of a ValidationError neither text nor input is told: it quotes the file.
    reason = "it is not as it was written" if isinstance(error, ValidationError) else error
    return ConfigError(
        f"{path} cannot be read: {reason}.",
        "the file that barometer keys wrote.",
        "restore it from a backup, or move it away and make new keys: barometer keys create.",
    )
