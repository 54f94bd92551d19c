"""Where the versions in charge come from: the registry, or a folder made by `barometer models export`.

With a folder no registry, warehouse or Airflow is asked. The entry point is `source_of`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import BarometerError, ModelError
from pipeline.files import sha256_of_text
from pipeline.models import registry
from pipeline.models.bundle import BUNDLE_FILE, ONNX_FILE
from pipeline.models.exported import VERSION_FILE, ExportedVersion, exported_version, not_exported, parsed
from pipeline.models.profile import PROFILE_FILE
from pipeline.service.model.copies import Copies
from pipeline.service.model.in_charge import Candidate, InCharge
from pipeline.settings import Settings
from pipeline.settings.variables import filled


class Source(Protocol):
    """Says which versions are in charge."""

    is_registry: bool
    """Whether it is looked at again and again, as its answer changes."""

    def look(self) -> InCharge:
        """Return the versions in charge now.

        Raises
        ------
        ModelError
            If there is none that may be served.
        DatabaseUnavailableError
            If the registry does not answer.
        """

    def saved(self) -> InCharge | None:
        """Return what was served last from here, out of the local copy; None when there is none.

        Raises
        ------
        ModelError
            If what was remembered is of another model, or cannot be read.
        """

    def save(self, served: InCharge) -> None:
        """Keep a local copy of what is served; where it is whole already, this costs next to nothing.

        Raises
        ------
        ModelError
            If a file is no longer what was sealed.
        OSError
            If the copy cannot be written.
        """


def source_of(settings: Settings) -> Source:
    """Return the source that the settings name.

    Raises
    ------
    ConfigError
        If `service.model_folder` names a variable that is not set.
    """
    if settings.service.model_folder is None:
        return _Registry(settings)
    place = filled(settings.service.model_folder, "service.model_folder").replace("{home}", str(settings.home))
    if "://" in place:
        return _RemoteFolder(settings, place)
    return _Folder(settings.config_file.parent / place)


class _Registry:
    """The aliases in MLflow's registry."""

    is_registry = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._copies = Copies(settings.home / "service")
        self._saved: InCharge | None = None

    def look(self) -> InCharge:
        champion = self._candidate(registry.champion_or_refuse(self._settings))
        found = InCharge(self._settings.model.name, self._settings.model.threshold, champion)
        if self._settings.routing.mode == "off":
            return found
        version = registry.challenger(self._settings)
        if version in {None, champion.version}:  # the latter while a promotion moves one alias after the other
            return found
        try:
            return replace(found, challenger=self._candidate(str(version)))
        except ModelError as error:
            return replace(found, challenger_error=error)

    def saved(self) -> InCharge | None:
        saved = self._copies.saved()
        if saved is None:
            return None
        if saved.name != self._settings.model.name:
            raise ModelError(
                f"The local copy is of the model {saved.name!r}.",
                f"the model that model.name names, {self._settings.model.name!r}.",
                "see that the registry answers, or correct model.name.",
            )
        takes_part = self._settings.routing.mode != "off"
        return replace(
            saved, threshold=self._settings.model.threshold, challenger=saved.challenger if takes_part else None
        )

    def save(self, served: InCharge) -> None:
        if self._saved == served and self._copies.holds(served):
            return
        self._copies.save(served)
        self._saved = served

    def _candidate(self, version: str) -> Candidate:
        folder, digest = registry.bundle_of(self._settings, version)
        return Candidate(version, digest, folder)


class _Folder:
    """An exported version in a folder of this machine. It is read whole when it is loaded, so it needs no copy."""

    is_registry = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def look(self) -> InCharge:
        return _alone(*exported_version(self._folder))

    def saved(self) -> InCharge | None:
        return None

    def save(self, served: InCharge) -> None:
        pass


class _RemoteFolder:
    """An exported version behind an fsspec URI, copied once to this machine."""

    is_registry = False

    def __init__(self, settings: Settings, uri: str) -> None:
        self._uri = uri
        self._copies = Copies(settings.home / "service" / f"folder-{sha256_of_text(uri)[:16]}")

    def look(self) -> InCharge:
        try:
            return self._fetched()
        except BarometerError:
            raise
        except Exception as error:  # noqa: BLE001 - every filesystem of fsspec has errors of its own
            raise ModelError(
                f"The folder of service.model_folder cannot be reached: {type(error).__name__}: {error}.",
                "a URI that fsspec can open.",
                "check the address and the access rights, and that the fsspec package for it is installed.",
            ) from None

    def saved(self) -> InCharge | None:
        return self._copies.saved()

    def save(self, served: InCharge) -> None:
        self._copies.save(served)

    def _fetched(self) -> InCharge:
        from fsspec.core import url_to_fs

        filesystem, root = url_to_fs(self._uri)
        folder = _remote_place(filesystem, root.rstrip("/"))
        version = parsed(filesystem.cat_file(f"{folder}/{VERSION_FILE}"), f"{folder}/{VERSION_FILE}")
        if not self._copies.is_whole(version.digest):
            names = [name for name in (BUNDLE_FILE, ONNX_FILE, PROFILE_FILE) if filesystem.isfile(f"{folder}/{name}")]
            self._copies.put(version.digest, {name: filesystem.cat_file(f"{folder}/{name}") for name in names})
        return _alone(self._copies.path(version.digest), version)


def _remote_place(filesystem: Any, root: str) -> str:
    if filesystem.isfile(f"{root}/{VERSION_FILE}"):
        return root
    below = [str(path).rstrip("/") for path in filesystem.ls(root, detail=False)]
    places = [path for path in below if filesystem.isfile(f"{path}/{VERSION_FILE}")]
    if len(places) != 1:
        raise not_exported(root, len(places))
    return places[0]


def _alone(folder: Path, version: ExportedVersion) -> InCharge:
    return InCharge(version.name, version.threshold, Candidate(version.version, version.digest, folder))
