"""The version of the code, which is stored with every run and every model version.

The entry point is `code_version`.
"""

import hashlib
import subprocess
from functools import cache
from pathlib import Path

from pipeline import __version__

PACKAGE = Path(__file__).resolve().parent


@cache
def code_version() -> str:
    """Return the package's version with the commit or a digest of its files: `0.1.0+g<commit>` or `0.1.0+d<digest>`.

    The commit is used in a checkout whose package has no uncommitted changes. A company's SQL files are not part of
    it: their digests are in the manifests.
    """
    commit = _clean_commit(PACKAGE)
    return f"{__version__}+g{commit[:12]}" if commit else f"{__version__}+d{_digest(PACKAGE)[:12]}"


def _clean_commit(package: Path) -> str | None:
    """Return the commit of the package's files, if they are tracked and unchanged."""
    if not (package.parent / ".git").exists():
        return None  # installed, or copied into another repository
    try:
        changes = _git(package, "status", "--porcelain", "--", ".")
        return None if changes else _git(package, "rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None  # git is not installed, or refuses this folder


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(package).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
