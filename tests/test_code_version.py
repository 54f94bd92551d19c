"""The code version contains the commit only if the package is unchanged from that commit."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import __version__, code_version


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in place of this one."""
    package = tmp_path / "checkout" / "pipeline"
    package.mkdir(parents=True)
    (package / "stage.py").write_text("x = 1\n")
    monkeypatch.setattr(code_version, "PACKAGE", package)
    return package


def version() -> str:
    return code_version.code_version.__wrapped__()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def committed(package: Path) -> str:
    git(package.parent, "init")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-m", "first")
    return git(package.parent, "rev-parse", "HEAD")


def test_a_clean_checkout_is_its_commit(package: Path, committed: str) -> None:
    assert version() == f"{__version__}+g{committed[:12]}"
    (package.parent / "notes.txt").write_text("beside the package")
    assert version() == f"{__version__}+g{committed[:12]}"


@pytest.mark.parametrize("name", ["stage.py", "new.py"])
def test_a_changed_checkout_is_a_digest_of_its_files(package: Path, committed: str, name: str) -> None:
    (package / name).write_text("x = 2\n")
    changed = version()
    assert changed.startswith(f"{__version__}+d")
    (package / name).write_text("x = 3\n")
    assert version() != changed


def test_without_git_it_is_a_digest_that_only_the_files_decide(package: Path, tmp_path: Path, monkeypatch) -> None:
    installed = version()
    assert installed.startswith(f"{__version__}+d")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "stage.pyc").write_bytes(b"\0")
    elsewhere = Path(shutil.copytree(package, tmp_path / "elsewhere" / "pipeline"))
    monkeypatch.setattr(code_version, "PACKAGE", elsewhere)
    assert version() == installed
    (elsewhere / "stage.py").rename(elsewhere / "other.py")
    assert version() != installed


def test_a_package_installed_inside_a_companys_repository_is_not_that_ones_commit(
    package: Path, tmp_path: Path
) -> None:
    (tmp_path / ".gitignore").write_text("checkout\n")
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "theirs")
    assert version().startswith(f"{__version__}+d")


def test_a_checkout_on_a_machine_without_git_is_a_digest(package: Path, committed: str, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert version().startswith(f"{__version__}+d")
