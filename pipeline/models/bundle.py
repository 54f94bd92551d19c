"""A bundle: the files of one model version. Its `bundle.json` describes them and what they were made from.

Training seals a bundle, the registry keeps its folder and the digest of its `bundle.json`, and scoring opens it. No
file is used before its digest is checked: the registry holds the digest of `bundle.json`, and `bundle.json` holds the
digests of the other files. Entry points: `seal`, `open_bundle` and `open_intact`.
"""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.errors import ModelError
from pipeline.files import sha256_of_file, write_text
from pipeline.handoff import Facts

BUNDLE_FILE = "bundle.json"
ARRAYS_FILE = "scorer.npz"
"""The model as plain arrays, where the exact engine can score it; see `pipeline.models.scoring.exact`."""
ONNX_FILE = "model.onnx"


class Feature(Facts):
    """One input of the model."""

    name: str
    kind: Literal["number", "category"]
    """number: float32, NaN for missing; category: text, `pipeline.models.scoring.columns.MISSING` for missing."""
    categories: list[str] = Field(default_factory=list)
    """The categories seen in training, in order; any other counts as unseen."""


class TrainingData(Facts):
    """What a version was trained, calibrated and tested on."""

    cutoff: datetime
    """Only what was known before it was used."""
    train_weeks: list[str]
    validation_weeks: list[str]
    test_weeks: list[str]
    rows: int
    digest: str
    """Digest of the training set."""


class Bundle(Facts):
    """The content of `bundle.json`."""

    features: list[Feature]
    """In the order of the model's inputs."""
    training: TrainingData
    parameters: dict[str, float | int | str | bool]
    metrics: dict[str, float]
    """On the test weeks."""
    code_version: str
    libraries: dict[str, str]
    files: dict[str, str]
    """sha256 of each file, by its path below the folder."""

    def read(self, folder: Path, name: str) -> bytes:
        """Return the content of a file of the bundle in `folder`, after checking its digest.

        Raises
        ------
        ModelError
            If the file is absent, not listed, or not what was sealed.
        """
        return _checked(folder / name, self.files.get(name, "no such file"))


def seal(folder: Path, **facts: object) -> str:
    """Write `bundle.json` for the files in `folder`, which is complete otherwise, and return its digest.

    `facts` are the fields of `Bundle` except `files`.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / BUNDLE_FILE)
    files = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in paths}
    bundle = Bundle.model_validate({**facts, "files": files})
    text = json.dumps(bundle.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    write_text(folder / BUNDLE_FILE, text)
    return sha256_of_file(folder / BUNDLE_FILE)


def open_bundle(folder: Path, digest: str) -> Bundle:
    """Return the content of `bundle.json` in `folder`, after checking that its digest is the registry's `digest`.

    Raises
    ------
    ModelError
        If `bundle.json` is absent, was changed, or was written by another version of Barometer.
    """
    path = folder / BUNDLE_FILE
    content = _checked(path, digest)
    try:
        return Bundle.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(
            f"{path} has another form: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}.",
            "a bundle.json as this version of Barometer writes it.",
            "train a version with this code: barometer train.",
        ) from None


def open_intact(folder: Path, digest: str) -> Bundle:
    """Return the content of `bundle.json`, after checking the digest of every file of the bundle."""
    bundle = open_bundle(folder, digest)
    for name in bundle.files:
        bundle.read(folder, name)
    return bundle


def _checked(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The model's file {path} cannot be read: {error.strerror}.",
            "every file of the version where the registry says.",
            "restore the folder from a backup, or train a new version: barometer train.",
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ModelError(
            f"The model's file {path} is not the registered one (sha256 {found[:12]}…).",
            f"sha256 {digest[:12]}…, as it was sealed.",
            "find out who changed it; restore the folder from a backup, or train a new version: barometer train.",
        )
    return content
