"""Which versions are in charge, and the local copy of them, with which the service can start without the registry.

`models/<digest>/` holds the files of a version that serving needs. `current.json` says which versions were served last,
and in which role. `current` has both written after it has loaded a version; the processes of a home take turns. Files
of versions without a role are then removed. The entry points are `InCharge` and `Copies`.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipeline.errors import BarometerError, ModelError
from pipeline.files import write_text
from pipeline.models.exported_versions import served_files, write_folder

CURRENT_FILE = "current.json"
NOT_RECORDED: Any = {"challenger_error": True, "champion": {"folder"}, "challenger": {"folder"}}


@dataclass(frozen=True)
class Candidate:
    """A version that was found, but neither loaded nor checked yet."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    version: str
    digest: str
    """sha256 that its `bundle.json` must have."""
    folder: Path = field(default=Path(), compare=False)
    """Where its files are."""


@dataclass(frozen=True)
class InCharge:
    """The versions to serve; without folders, the content of `current.json`."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str
    """The model's name in the registry."""
    threshold: float
    """`likely_satisfied` is satisfaction at or above this."""
    champion: Candidate
    challenger: Candidate | None = None
    """None where routing gives it no part."""
    challenger_error: BarometerError | None = field(default=None, compare=False)
    """Why there is no challenger although there should be one."""

    @property
    def versions(self) -> list[Candidate]:
        """The champion, and the challenger if there is one."""
        return [self.champion, *([self.challenger] if self.challenger else [])]


_RECORD = TypeAdapter(InCharge)


class Copies:
    """The copies in a folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._models = folder / "models"
        self._current = folder / CURRENT_FILE
        self._saved: InCharge | None = None

    def path(self, digest: str) -> Path:
        """Return where the copy of a version is, or would be."""
        return self._models / digest

    def save(self, served: InCharge) -> None:
        """Copy the versions that are not copied yet, record which ones they are, and remove all others.

        If they were saved before and are still there by name, no file is read.

        Raises
        ------
        ModelError
            If a file is no longer what was sealed.
        OSError
            If the folder cannot be written.
        """
        digests = {version.digest for version in served.versions}
        if served == self._saved == self._recorded() and all(self.path(digest).is_dir() for digest in digests):
            return
        with self._turn():
            for version in served.versions:
                if not self.is_whole(version.digest):
                    self._put(version.digest, served_files(version.folder, version.digest))
            if self._recorded() != served:
                write_text(self._current, _RECORD.dump_json(served, indent=1, exclude=NOT_RECORDED).decode())
            for path in self._models.iterdir():
                if path.name not in digests:
                    shutil.rmtree(path, ignore_errors=True)
        self._saved = served

    def saved(self) -> InCharge | None:
        """Return what was served last, its files unchecked; None if nothing was.

        Raises
        ------
        ModelError
            If the record cannot be read.
        """
        if not self._current.exists():
            return None
        served = self._recorded()
        if served is None:
            raise ModelError(
                f"{self._current} is not as it was written.",
                "the versions that were served last.",
                "remove the file. The service writes it again when the registry answers.",
            )
        champion, *others = (replace(version, folder=self.path(version.digest)) for version in served.versions)
        return replace(served, champion=champion, challenger=others[0] if others else None)

    def put(self, digest: str, files: dict[str, bytes]) -> None:
        """Write the files of a version, in place of a copy that is not whole; OSError if that is not possible."""
        with self._turn():
            self._put(digest, files)

    def is_whole(self, digest: str) -> bool:
        """Return whether the copy of a version is there and as it was sealed."""
        try:
            served_files(self.path(digest), digest)
        except ModelError:
            return False
        return True

    def _recorded(self) -> InCharge | None:
        try:
            return _RECORD.validate_json(self._current.read_bytes())
        except (OSError, ValidationError):  # the next save writes it again
            return None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._models.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _put(self, digest: str, files: dict[str, bytes]) -> None:
        path = self.path(digest)
        if path.exists():  # altered or incomplete: out of the way in one step
            path.rename(path.with_name(f".tmp-{uuid4().hex}"))
        write_folder(files, path)
