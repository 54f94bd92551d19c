"""Where the versions in charge come from: the registry, or a folder that `barometer models export` wrote.

With a folder, the service needs neither registry nor warehouse nor Airflow. `current` asks the origin. The entry point
is `origin_of`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from typing import Any

from pipeline.errors import BarometerError, ModelError
from pipeline.files import sha256_of_text
from pipeline.models import registry
from pipeline.models.bundle import BUNDLE_FILE
from pipeline.models.exported_versions import (
    SERVED_FILES,
    VERSION_FILE,
    ExportedVersion,
    exported_version,
    not_exported,
    parsed,
)
from pipeline.service.model.copies import Candidate, Copies, InCharge
from pipeline.settings import Settings
from pipeline.settings.secrets import filled


@dataclass(frozen=True)
class Origin:
    """Where the versions in charge come from."""

    look: Callable[[], InCharge]
    """Returns the versions in charge now. Raises ModelError if none may be served, DatabaseUnavailableError if the
    registry does not answer."""
    save: Callable[[InCharge], None] = lambda _: None
    """Keeps a local copy. A folder of this machine has none, since loading reads it whole."""
    saved: Callable[[], InCharge | None] = lambda: None
    """Returns what the copy says was served last. Raises ModelError if that is unreadable."""
    is_registry: bool = False
    """Whether the answer may change, so that it is looked up again and again."""


def origin_of(settings: Settings) -> Origin:
    """Return the origin that the settings name; ConfigError if it is a variable that is not set."""
    if settings.service.model_folder is None:
        copies = _copies(settings, settings.model.name)
        saved = partial(_saved_of_registry, settings, copies)
        return Origin(partial(_in_registry, settings), copies.save, saved, is_registry=True)
    place = filled(settings.service.model_folder, "service.model_folder").replace("{home}", str(settings.home))
    if "://" not in place:
        folder = settings.config_file.parent / place
        return Origin(lambda: InCharge(Candidate(*exported_version(folder))))
    copies = _copies(settings, place)
    return Origin(partial(_in_remote_folder, place, copies), copies.save, copies.saved)


def _copies(settings: Settings, of: str) -> Copies:
    """Return the local copy of a registered model, or of a remote folder."""
    return Copies(settings.home / f"service/copies-{sha256_of_text(of)[:16]}")


def _in_registry(settings: Settings) -> InCharge:
    """Return the versions that have the aliases in MLflow's registry."""
    model = settings.model

    def candidate(version: str) -> Candidate:
        folder, digest = registry.bundle_of(settings, version)
        found = ExportedVersion(name=model.name, version=version, digest=digest, threshold=model.threshold)
        return Candidate(folder, found)

    champion = registry.champion_or_refuse(settings)
    found = InCharge(candidate(champion))
    challenger = registry.challenger(settings) if settings.routing.mode != "off" else None
    if challenger in {None, champion}:  # the latter while a promotion moves one alias after the other
        return found
    try:
        return replace(found, challenger=candidate(str(challenger)))
    except ModelError as error:
        return replace(found, challenger_error=error)


def _saved_of_registry(settings: Settings, copies: Copies) -> InCharge | None:
    """Return the copies' versions with today's threshold and routing."""
    saved, model = copies.saved(), settings.model
    if saved is None:
        return None

    def today(candidate: Candidate) -> Candidate:
        return replace(candidate, version=candidate.version.model_copy(update={"threshold": model.threshold}))

    challenger = saved.challenger if settings.routing.mode != "off" else None
    return InCharge(today(saved.champion), challenger and today(challenger))


def _in_remote_folder(uri: str, copies: Copies) -> InCharge:
    """Return the version behind an fsspec URI, copied to this machine if it is not there yet."""
    from fsspec.core import url_to_fs

    try:
        filesystem, root = url_to_fs(uri)
        file = _version_file(filesystem, root.rstrip("/"))
        version, folder = parsed(filesystem.cat_file(file), file), file.removesuffix(f"/{VERSION_FILE}")
        copy = copies.intact()
        if copy is not None and copy.champion.version == version:
            return copy
        names = [name for name in (BUNDLE_FILE, *SERVED_FILES) if filesystem.isfile(f"{folder}/{name}")]
        fetched = copies.fetched({name: filesystem.cat_file(f"{folder}/{name}") for name in names})
    except BarometerError:
        raise
    except Exception as error:  # noqa: BLE001 - each filesystem of fsspec has errors of its own
        found = f"The folder of service.model_folder cannot be reached: {type(error).__name__}: {error}."
        do = "check the address and the access rights, and that the fsspec package for it is installed."
        raise ModelError(found, "a URI that fsspec can open.", do) from None
    return InCharge(Candidate(fetched, version))


def _version_file(filesystem: Any, root: str) -> str:
    """Return the path of `version.json`, in the root or in a folder just below it."""
    found = filesystem.glob(f"{escape(root)}/{VERSION_FILE}") or filesystem.glob(f"{escape(root)}/*/{VERSION_FILE}")
    if len(found) != 1:
        raise not_exported(root, len(found))
    return str(found[0])
