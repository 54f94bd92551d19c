"""An exported version: a folder with all that serving needs, for a place without registry and warehouse.

It holds `version.json` and, as they were sealed, `bundle.json`, `scorer.npz`, `model.onnx` and `profile.json`.
A cloud unpacks it into its container's model folder, or one folder deeper. `version.json` replaces the registry: it
holds the version, the digest of `bundle.json`, and the threshold in force at the export. Entry points:
`export_version` for `barometer models export`, `exported_version` for the service.
"""

import gzip
import io
import shutil
import tarfile
from pathlib import Path
from uuid import uuid4

from pydantic import Field, ValidationError

from pipeline.errors import ConfigError, ModelError
from pipeline.files import write_bytes
from pipeline.handoff import Facts
from pipeline.models import registry
from pipeline.models.bundle import ARRAYS_FILE, BUNDLE_FILE, ONNX_FILE, open_bundle
from pipeline.models.profile import PROFILE_FILE
from pipeline.settings import Settings

VERSION_FILE = "version.json"
SERVED_FILES = (ARRAYS_FILE, ONNX_FILE, PROFILE_FILE)
"""What serving may need beside `bundle.json`; a version need not have all of them."""
ARCHIVE_ENDING = ".tar.gz"


class ExportedVersion(Facts):
    """The content of `version.json`."""

    name: str
    """The model's name in the registry."""
    version: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """sha256 of `bundle.json`."""
    threshold: float
    """`likely_satisfied` is satisfaction at or above this."""


def export_version(settings: Settings, version: str, to: Path) -> ExportedVersion:
    """Write what serving a version needs to a new folder, or to a new archive if the name ends in `.tar.gz`.

    `version` is a number, or `current` for the champion. Equal versions give equal bytes.

    Raises
    ------
    ModelError
        If there is no such version, it was withdrawn, or its files are not as they were sealed.
    ConfigError
        If `to` exists already or cannot be written.
    """
    number = registry.champion_or_refuse(settings) if version == "current" else version
    folder, digest = registry.bundle_of(settings, number)
    if reason := registry.withdrawn(settings, number):
        raise ModelError(
            f"Version {number} was withdrawn: {reason}.",
            "a version that may be served.",
            "name another one: barometer models lists them.",
        )
    made = ExportedVersion(name=settings.model.name, version=number, digest=digest, threshold=settings.model.threshold)
    files = exported_files(made, folder)
    try:
        if not to.name.endswith(ARCHIVE_ENDING):
            write_folder(files, to.absolute())
        elif to.exists():
            raise FileExistsError(None, "it exists already")
        else:
            write_bytes(to.absolute(), _archive(files))
    except OSError as error:
        raise ConfigError(
            f"The version cannot be exported to {to}: {error.strerror}.",
            "the name of a folder, or of a .tar.gz, that does not exist yet.",
            "name another place with --to.",
        ) from None
    return made


def exported_files(version: ExportedVersion, folder: Path) -> dict[str, bytes]:
    """Return the content of a version's exported folder, by name, after checking its bundle in `folder`.

    Raises
    ------
    ModelError
        If a file is absent or not what was sealed.
    """
    bundle = open_bundle(folder, version.digest)
    names = [name for name in SERVED_FILES if name in bundle.files]
    return {
        VERSION_FILE: version.model_dump_json(indent=1).encode(),
        BUNDLE_FILE: (folder / BUNDLE_FILE).read_bytes(),
        **{name: bundle.read(folder, name) for name in names},
    }


def write_folder(files: dict[str, bytes], folder: Path) -> None:
    """Write files, by their paths within it, to a new or empty folder, all of them or none.

    Raises
    ------
    OSError
        If the folder is not empty, or cannot be written.
    """
    fresh = folder.with_name(f".tmp-{uuid4().hex}")
    fresh.mkdir(parents=True)
    try:
        for name, content in files.items():
            write_bytes(fresh / name, content)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def exported_version(folder: Path) -> tuple[Path, ExportedVersion]:
    """Return the folder that holds `version.json`, which is this one or one just below it, and its content."""
    places = [folder / VERSION_FILE] if (folder / VERSION_FILE).is_file() else sorted(folder.glob(f"*/{VERSION_FILE}"))
    if len(places) != 1:
        raise not_exported(str(folder), len(places))
    return places[0].parent, parsed(places[0].read_bytes(), str(places[0]))


def parsed(content: bytes, place: str) -> ExportedVersion:
    """Return the content of a `version.json`."""
    try:
        return ExportedVersion.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(
            f"{place} has another form: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}.",
            "a version.json as this version of Barometer writes it.",
            "export the version again: barometer models export VERSION --to FOLDER.",
        ) from None


def not_exported(place: str, found: int) -> ModelError:
    """Return the error for a place with no exported version, or with several of them."""
    return ModelError(
        f"{place} holds {found or 'no'} {VERSION_FILE}.",
        f"one {VERSION_FILE}, there or one folder deeper, beside {BUNDLE_FILE} and {ONNX_FILE}.",
        "make it with: barometer models export VERSION --to FOLDER, and name that folder in service.model_folder.",
    )


def _archive(files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz of the files at its root, without owners and times."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)
