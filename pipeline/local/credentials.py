"""The secrets of one home: `credentials.json`, generated on first use and readable only by its owner.

They protect what listens on 127.0.0.1: the embedded server and Airflow. The entry point is `credentials`.
"""

import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

from pydantic import Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.handoff import Facts

AIRFLOW_USERS = ("viewer", "operator", "admin")


def _password() -> str:
    return secrets.token_urlsafe(18)


class Credentials(Facts):
    """The secrets of one home."""

    postgres_password: str = Field(default_factory=_password)
    """For the embedded server's superuser."""
    analyst_password: str = Field(default_factory=_password)
    """For the embedded server's read-only role."""
    jwt_secret: str = Field(default_factory=lambda: secrets.token_urlsafe(64))
    """Airflow's `[api_auth] jwt_secret`, which must have at least 64 bytes."""
    secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    """Airflow's `[api] secret_key`."""
    fernet_key: str = Field(default_factory=lambda: urlsafe_b64encode(secrets.token_bytes(32)).decode())
    """Airflow's `[core] fernet_key`."""
    airflow_passwords: dict[str, str] = Field(default_factory=lambda: {user: _password() for user in AIRFLOW_USERS})
    """Passwords of Airflow's users viewer, operator, admin."""


def credentials(home: Path) -> Credentials:
    """Return the secrets of `home`; generate them if there are none.

    Raises
    ------
    ConfigError
        If other users can read the file, or its content is invalid.
    """
    path = home / "credentials.json"
    if not path.exists():
        _generate(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(
            f"{path} contains passwords and has mode {mode:o}, so other users can read it.",
            "mode 600.",
            f"chmod 600 '{path}'; if others may have read it, run make clean, which generates new ones.",
        )
    try:
        return Credentials.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = "its content is invalid" if isinstance(error, ValidationError) else error
        raise ConfigError(
            f"{path} cannot be read: {reason}.",
            "the file that Barometer generated.",
            "restore it from a backup, or run make clean and start again.",
        ) from None


def _generate(path: Path) -> None:
    """Write new secrets to `path`, unless another process has: creating a link never replaces a file."""
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
