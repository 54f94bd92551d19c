"""A bundle is used only when every byte of it is the sealed one."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.files import sha256_of_file
from pipeline.models.bundle import ARRAYS_FILE, BUNDLE_FILE, open_bundle
from pipeline.models.scoring.scorer import Scorer
from tests.tiny_model import tiny_bundle


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    return folder, tiny_bundle(folder)


@pytest.fixture
def copied(sealed: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    folder, digest = sealed
    return Path(shutil.copytree(folder, tmp_path / "copy")), digest


def test_a_sealed_bundle_lists_every_file_and_opens(sealed: tuple[Path, str]) -> None:
    folder, digest = sealed
    bundle = open_bundle(folder, digest)
    assert set(bundle.files) == {p.name for p in folder.iterdir()} - {BUNDLE_FILE}
    assert {"model.skops", "model.onnx", "scorer.npz", "MLmodel"} <= set(bundle.files)
    assert all(bundle.read(folder, name) for name in bundle.files)


def test_one_changed_byte_of_any_file_is_refused(copied: tuple[Path, str]) -> None:
    folder, digest = copied
    bundle = open_bundle(folder, digest)
    for name in bundle.files:
        path = folder / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is not the registered one"):
            bundle.read(folder, name)


def test_scoring_refuses_a_changed_model(copied: tuple[Path, str]) -> None:
    folder, digest = copied
    (folder / ARRAYS_FILE).write_bytes((folder / ARRAYS_FILE).read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"scorer\.npz is not the registered one"):
        Scorer.load(folder, digest, threshold=0.5)


def test_a_rewritten_bundle_json_is_refused(copied: tuple[Path, str]) -> None:
    folder, digest = copied
    path = folder / BUNDLE_FILE
    path.write_text(path.read_text().replace('"number"', '"category"', 1))
    with pytest.raises(ModelError, match=r"bundle\.json is not the registered one"):
        open_bundle(folder, digest)


def test_a_lost_file_and_an_unlisted_one_are_refused(copied: tuple[Path, str]) -> None:
    folder, digest = copied
    bundle = open_bundle(folder, digest)
    (folder / ARRAYS_FILE).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        bundle.read(folder, ARRAYS_FILE)
    (folder / "extra").write_text("x")
    with pytest.raises(ModelError, match="is not the registered one"):
        bundle.read(folder, "extra")
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="cannot be read"):
        open_bundle(folder, digest)


def test_a_bundle_json_of_another_form_is_refused(copied: tuple[Path, str]) -> None:
    folder, _ = copied
    (folder / BUNDLE_FILE).write_text("{}")
    with pytest.raises(ModelError, match="has another form"):
        open_bundle(folder, sha256_of_file(folder / BUNDLE_FILE))
