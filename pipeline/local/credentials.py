"""The secrets of one home, generated on first use: `credentials.json`, which only its owner can read.

They stand between the home and whatever listens on 127.0.0.1: the embedded server, Airflow, Airflow's users. The one
entry point is `credentials`.
"""

import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError

AIRFLOW_USERS = ("viewer", "operator", "admin")


def _password() -> str:
    return secrets.token_urlsafe(18)


def _passwords() -> dict[str, str]:
    return {user: _password() for user in AIRFLOW_USERS}


class Credentials(BaseModel):
    """The secrets of one home."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    postgres_password: str = Field(default_factory=_password)
    """Of the embedded server's superuser."""
    analyst_password: str = Field(default_factory=_password)
    """Of the embedded server's read-only role."""
    jwt_secret: str = Field(default_factory=lambda: secrets.token_urlsafe(64))
    """Airflow's `[api_auth] jwt_secret`, which must have at least 64 bytes."""
    secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    """Airflow's `[api] secret_key`."""
    fernet_key: str = Field(default_factory=lambda: urlsafe_b64encode(secrets.token_bytes(32)).decode())
    """Airflow's `[core] fernet_key`."""
    airflow_passwords: dict[str, str] = Field(default_factory=_passwords)
    """Passwords of Airflow's users viewer, operator, admin."""


def credentials(home: Path) -> Credentials:
    """Return the secrets of `home`, generating them if there are none.

    Raises
    ------
    ConfigError
        If others can read the file, or it is not as it was written.
    """
    path = home / "credentials.json"
    if not path.exists():
        _generate(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(
            f"{path} holds passwords and has mode {mode:o}: others can read it.",
            "mode 600.",
            f"chmod 600 '{path}'; if others may have read it, run make clean, which makes new ones.",
        )
    try:
        return Credentials.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = "not as it was written" if isinstance(error, ValidationError) else error
        raise ConfigError(
            f"{path} cannot be read: {reason}.",
            "the file that Barometer generated.",
            "restore it from a backup, or run make clean and start anew.",
        ) from None


def _generate(path: Path) -> None:
    """Write new secrets to `path`, unless another process is first: linking never replaces a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}-{path.name}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(Credentials().model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
