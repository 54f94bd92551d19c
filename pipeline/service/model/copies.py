"""The local copy of what is served, so that the service starts without the registry too.

`models/<digest>/` holds the files of a version that serving needs, `current.json` says which versions were served last,
in what role. Both are written after a version was loaded, in turns with other processes of the home; what no longer
has a role is removed then. The entry point is `Copies`.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ModelError
from pipeline.files import write_text
from pipeline.models.exported import served_files, write_folder
from pipeline.service.model.in_charge import Candidate, InCharge

MODELS = "models"
CURRENT_FILE = "current.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Version(_Part):
    version: str
    digest: str


class _Current(_Part):
    """The content of `current.json`."""

    name: str
    threshold: float
    champion: _Version
    challenger: _Version | None


class Copies:
    """The copies in one folder.

    Parameters
    ----------
    folder
        Need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / CURRENT_FILE

    def path(self, digest: str) -> Path:
        """Return where the copy of a version is, or would be."""
        return self._folder / MODELS / digest

    def save(self, served: InCharge) -> None:
        """Copy what is served and not copied yet, remember it, and remove all else.

        Raises
        ------
        ModelError
            If a file is no longer what was sealed.
        OSError
            If the folder cannot be written.
        """
        current = _as_recorded(served)
        versions = [each for each in (served.champion, served.challenger) if each]
        with self._turn():
            for each in versions:
                if not self.is_whole(each.digest):
                    self._put(each.digest, served_files(each.folder, each.digest))
            if self._recorded() != current:
                write_text(self._current, current.model_dump_json(indent=1))
            for path in (self._folder / MODELS).iterdir():
                if path.name not in {each.digest for each in versions}:
                    shutil.rmtree(path, ignore_errors=True)

    def holds(self, served: InCharge) -> bool:
        """Return whether the copy seems to be that of what is served; a look at names alone."""
        versions = [each for each in (served.champion, served.challenger) if each]
        return self._recorded() == _as_recorded(served) and all(self.path(each.digest).is_dir() for each in versions)

    def saved(self) -> InCharge | None:
        """Return what was served last; None when nothing was. Its files are not checked yet.

        Raises
        ------
        ModelError
            If what was remembered cannot be read.
        """
        if not self._current.exists():
            return None
        current = self._recorded()
        if current is None:
            raise ModelError(
                f"{self._current} is not as it was written.",
                "the versions that were served last.",
                "remove it; it is made anew when the registry answers.",
            )
        challenger = self._candidate(current.challenger) if current.challenger else None
        return InCharge(current.name, current.threshold, self._candidate(current.champion), challenger)

    def put(self, digest: str, files: dict[str, bytes]) -> None:
        """Take the files of a version from elsewhere, in the place of a copy that is not whole.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        with self._turn():
            self._put(digest, files)

    def is_whole(self, digest: str) -> bool:
        """Return whether the copy of a version is as it was sealed."""
        try:
            served_files(self.path(digest), digest)
        except ModelError:
            return False
        return True

    def _put(self, digest: str, files: dict[str, bytes]) -> None:
        path = self.path(digest)
        if path.exists():  # altered or torn, so out of the way in one step
            path.rename(path.with_name(f".tmp-{uuid4().hex}"))
        write_folder(files, path)

    def _candidate(self, version: _Version) -> Candidate:
        return Candidate(version.version, version.digest, self.path(version.digest))

    def _recorded(self) -> _Current | None:
        try:
            return _Current.model_validate_json(self._current.read_bytes())
        except (OSError, ValidationError):  # as good as none: the next load writes it anew
            return None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        (self._folder / MODELS).mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _as_recorded(served: InCharge) -> _Current:
    challenger = _version(served.challenger) if served.challenger else None
    return _Current(
        name=served.name, threshold=served.threshold, champion=_version(served.champion), challenger=challenger
    )


def _version(candidate: Candidate) -> _Version:
    return _Version(version=candidate.version, digest=candidate.digest)
