"""Which versions are in charge, and the local copy of them, with which the service can start without the registry.

A copy is a folder with a number, which holds an exported folder for each role (`champion/`, `challenger/`). It is
written whole after the versions were loaded, and the highest number counts. Entry points: `InCharge` and `Copies`.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BarometerError, ModelError
from pipeline.files import locked
from pipeline.models.exported_versions import ExportedVersion, exported_files, exported_version, write_folder


@dataclass(frozen=True)
class Candidate:
    """A version that was found, but neither loaded nor checked yet."""

    folder: Path = field(compare=False)
    """Where its files are."""
    version: ExportedVersion


@dataclass(frozen=True)
class InCharge:
    """The versions to serve."""

    champion: Candidate
    challenger: Candidate | None = None
    """None where routing gives it no part."""
    challenger_error: BarometerError | None = field(default=None, compare=False)
    """Why there is no challenger although there should be one."""

    def files(self) -> dict[str, bytes]:
        """Return the files of the local copy, by their paths; ModelError if one is no longer what was sealed."""
        roles = {"champion": self.champion, **({"challenger": self.challenger} if self.challenger else {})}
        return {
            f"{role}/{name}": content
            for role, candidate in roles.items()
            for name, content in exported_files(candidate.version, candidate.folder).items()
        }


class Copies:
    """The local copy, in a folder that need not exist yet and that processes may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: tuple[InCharge, Path | None] | None = None
        """What this process saved or found last, and where."""

    def save(self, served: InCharge) -> None:
        """Copy these versions, unless the copy holds them already, and remove all others.

        The files of a copy are checked once in a process. Raises ModelError if a file is no longer what was sealed,
        OSError if the folder cannot be written.
        """
        if (served, self._newest()) == self._saved:
            return
        with locked(self._folder):
            if self.intact() != served:
                last = self._newest()
                write_folder(served.files(), self._folder / f"{int(last.name) + 1 if last else 1:09d}")
            newest = self._newest()
            for path in {*self._folder.iterdir()} - {newest}:
                shutil.rmtree(path, ignore_errors=True)
        self._saved = served, newest

    def saved(self) -> InCharge | None:
        """Return what was served last, its files unchecked; None if nothing was. ModelError if that is unreadable."""
        newest = self._newest()
        if newest is None:
            return None
        champion, challenger = newest / "champion", newest / "challenger"
        try:
            return InCharge(
                Candidate(*exported_version(champion)),
                Candidate(*exported_version(challenger)) if challenger.exists() else None,
            )
        except ModelError as error:
            do = f"remove {newest}. The service writes it again when the registry answers."
            raise ModelError(error.found, "the versions that were served last.", do) from None

    def intact(self) -> InCharge | None:
        """Return what was served last, if it can be read and its files are as sealed."""
        try:
            if saved := self.saved():
                saved.files()
        except (ModelError, OSError):
            return None
        return saved

    def fetched(self, files: dict[str, bytes]) -> Path:
        """Write a version's files beside the copy, until the next `save`, and return their folder."""
        folder = self._folder / "fetched"
        with locked(self._folder):
            shutil.rmtree(folder, ignore_errors=True)
            write_folder(files, folder)
        return folder

    def _newest(self) -> Path | None:
        return max(self._folder.glob("[0-9]*"), default=None)
