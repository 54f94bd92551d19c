"""The file of API keys: who may ask the service, and for what. It holds digests, never a key itself.

`barometer keys` writes the file; `pipeline.service.access.admission` reads it in the service. Entry points:
`read`, `create`, `revoke`.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.errors import ConfigError
from pipeline.files import locked, written_atomically
from pipeline.settings.service import AccessScope

SECRET_BYTES = 32
"""256 random bits cannot be guessed, so a plain digest is enough to keep them."""


class Key(BaseModel):
    """What the file says of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8,}$")]
    name: Annotated[str, Field(pattern=r"^[\w .@/:-]{1,64}$")]
    """Whom or what the key is for; the log names it."""
    scopes: Annotated[tuple[AccessScope, ...], Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the secret part of the key."""
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    @cached_property
    def allowed(self) -> frozenset[AccessScope]:
        """What the key may do: everything with the scope admin."""
        return frozenset(get_args(AccessScope) if "admin" in self.scopes else self.scopes)


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = []

    @field_validator("keys")
    @classmethod
    def _have_different_ids(cls, keys: list[Key]) -> list[Key]:
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("two keys have the same id")
        return keys


def read(path: Path) -> list[Key]:
    """Return the keys of a file; none when there is no file.

    Raises ConfigError if others can read the file, or its content is not what `barometer keys` writes.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read()
        if mode & 0o077:
            found = f"{path} has mode {mode:o}: others can read who may ask the service."
            raise ConfigError(found, "mode 600.", f"chmod 600 '{path}'.")
        return _Content.model_validate_json(content).keys
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        # The text of a ValidationError quotes the file, so it is not repeated.
        reason = "its content is not what barometer keys writes" if isinstance(error, ValidationError) else error
        do = "restore it from a backup, or move it away and create new keys: barometer keys create."
        raise ConfigError(f"{path} cannot be read: {reason}.", "the file that barometer keys wrote.", do) from None


def create(path: Path, name: str, scopes: Sequence[AccessScope], lifetime: timedelta | None = None) -> tuple[Key, str]:
    """Add a key to a file. Return its record and the key itself, which is stored nowhere.

    Raises ConfigError if the file cannot be read, or the name is not allowed.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with locked(path):
        keys = read(path)
        taken = {key.id for key in keys}
        now = datetime.now(UTC).replace(microsecond=0)
        try:
            key = Key(
                id=next(found for found in iter(lambda: secrets.token_hex(4), None) if found not in taken),
                name=name,
                scopes=tuple(dict.fromkeys(scopes)),
                sha256=hashlib.sha256(secret.encode()).hexdigest(),
                created_at=now,
                expires_at=now + lifetime if lifetime else None,
            )
        except ValidationError as error:
            found = f"{name[:80]!r} cannot be a key's name: {error.errors()[0]['msg']}."
            expected = "1 to 64 letters, digits, spaces and . @ / : _ -"
            raise ConfigError(found, expected, "choose another name.") from None
        _write(path, [*keys, key])
    return key, f"bm_{key.id}_{secret}"


def revoke(path: Path, key_id: str) -> Key:
    """Remove a key from a file and return its record; ConfigError if the file cannot be read or lacks it."""
    with locked(path):
        keys = read(path)
        revoked = next((key for key in keys if key.id == key_id), None)
        if revoked is None:
            found, expected = f"There is no key with the id {key_id[:80]!r}.", "an id that barometer keys list shows."
            do = "look it up there; a key's id is the part between its first two underscores."
            raise ConfigError(found, expected, do)
        _write(path, [key for key in keys if key is not revoked])
    return revoked


def _write(path: Path, keys: list[Key]) -> None:
    with written_atomically(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(_Content(keys=keys).model_dump_json(indent=1), encoding="utf-8")
