"""A model's folder instead of the registry: what `barometer models export` writes, and the service of it."""

import json
import shutil
import tarfile
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.errors import ConfigError, ModelError, RequestError
from pipeline.models import registry
from pipeline.models.bundle import seal
from pipeline.models.exported_versions import ExportedVersion, export_version
from pipeline.service.model.current import Current
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.service.versions import ROWS, altered, answers_of, with_service
from tests.service.watching import NOBODY, answers, problems, spoiled, watching
from tests.tiny_model import open_facts, tiny_bundle
from tests.waiting import until


@pytest.fixture
def settings(watched: Settings) -> Settings:
    return watched


def in_folder(settings: Settings, folder: Path | str) -> Settings:
    """The settings of a container: no registry, no warehouse, another home."""
    database = settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1"})
    served = with_service(settings, model_folder=str(folder))
    return served.model_copy(update={"database": database, "home": settings.home / "container"})


def test_an_exported_version_is_served_from_its_folder(settings: Settings, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"model": settings.model.model_copy(update={"threshold": 0.9})})
    assert export_version(strict, "3", tmp_path / "model").threshold == 0.9
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "bundle.json", "model.onnx", "profile.json", "scorer.npz", "version.json",
    ]  # fmt: skip
    expected = answers_of(settings, "3")
    for folder in (tmp_path / "model", tmp_path):  # the second as Azure has it
        container = in_folder(settings, folder)
        with watching(container) as current:
            facts = current.readiness()
            assert (facts["status"], facts["champion"], facts["loaded_from"]) == ("ready", "3", "folder")
            scores = current.serving.score(ROWS, NOBODY)
            assert scores.satisfaction == expected
            assert scores.likely_satisfied == [one >= 0.9 for one in expected]
            until(lambda: "current model" not in {thread.name for thread in threading.enumerate()})
        assert not container.home.exists()


def test_an_exported_archive_holds_the_same_at_its_root(settings: Settings, tmp_path: Path) -> None:
    export_version(settings, "current", tmp_path / "model.tar.gz")
    export_version(settings, "1", tmp_path / "again.tar.gz")
    assert (tmp_path / "model.tar.gz").read_bytes() == (tmp_path / "again.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "opt/ml/model", filter="data")
    with watching(in_folder(settings, tmp_path / "opt/ml/model")) as current:
        assert answers(current) == answers_of(settings, "1")


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_remote_folder_is_copied_once(settings: Settings, tmp_path: Path, scheme: str) -> None:
    import fsspec

    export_version(settings, "2", tmp_path / "model")
    uri = f"{scheme}://{tmp_path}/there"
    filesystem = fsspec.filesystem(scheme)
    filesystem.put(str(tmp_path / "model"), f"{tmp_path}/there/nested", recursive=True)
    container = in_folder(settings, uri)
    shutil.rmtree(container.home, ignore_errors=True)
    filesystem.makedirs(f"{tmp_path}/empty")
    with watching(in_folder(settings, f"{scheme}://{tmp_path}/empty")) as current:
        assert "holds no version.json" in problems(current)["champion"]
    with watching(container) as current:
        assert (current.readiness()["status"], answers(current)) == ("ready", answers_of(settings, "2"))
    for name in ("bundle.json", "scorer.npz", "profile.json"):
        filesystem.rm(f"{tmp_path}/there/nested/{name}")
    with watching(container) as current:
        assert current.readiness()["status"] == "ready"
    filesystem.rm(f"{tmp_path}/there", recursive=True)
    with watching(container) as current:
        assert current.readiness()["status"] == "degraded"
        assert current.readiness()["loaded_from"] == "local copy"
        assert answers(current) == answers_of(settings, "2")


def test_a_folder_that_is_none_or_was_tampered_with_is_refused_until_it_is_right(
    settings: Settings, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    with watching(in_folder(settings, tmp_path)) as current:
        with pytest.raises(RequestError, match=r"holds no version\.json.*barometer models export"):
            _ = current.serving
        export_version(settings, "1", tmp_path / "aside")
        content = altered(tmp_path / "aside/scorer.npz")
        (tmp_path / "aside").rename(model)
        until(lambda: "scorer.npz is not the registered one" in problems(current)["champion"])
        (model / "scorer.npz").write_bytes(content)
        until(lambda: current.readiness()["status"] == "ready")
    whole = json.loads((model / "version.json").read_text())
    for other in ({"version": "1"}, {**whole, "digest": "../elsewhere"}):
        (model / "version.json").write_text(json.dumps(other))
        with watching(in_folder(settings, model)) as current, pytest.raises(RequestError, match="has another form"):
            _ = current.serving
    shutil.copytree(model, tmp_path / "second")
    with watching(in_folder(settings, tmp_path)) as current, pytest.raises(RequestError, match="holds 2 version"):
        _ = current.serving
    with (
        watching(in_folder(settings, "nowhere://model")) as current,
        pytest.raises(RequestError, match="cannot be reached"),
    ):
        _ = current.serving


def test_a_folder_may_be_named_by_a_variable(settings: Settings, tmp_path: Path, monkeypatch) -> None:
    export_version(settings, "1", tmp_path / "model")
    with pytest.raises(ConfigError, match="AZUREML_MODEL_DIR is not set"):
        Current(in_folder(settings, "$AZUREML_MODEL_DIR"))
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with watching(in_folder(settings, "$AZUREML_MODEL_DIR")) as current:
        assert current.readiness()["status"] == "ready"


def test_what_may_not_be_served_is_not_exported(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no version '99'"):
        export_version(settings, "99", tmp_path / "model")
    with (
        spoiled(registry.bundle_of(settings, "1")[0] / "scorer.npz"),
        pytest.raises(ModelError, match=r"scorer\.npz is not"),
    ):
        export_version(settings, "1", tmp_path / "model")
    with transaction(settings) as connection:
        connection.execute(text("INSERT INTO withdrawn_versions VALUES ('2', now(), 'me', 'too gloomy')"))
    with pytest.raises(ModelError, match="Version 2 was withdrawn: too gloomy"):
        export_version(settings, "2", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine").touch()
    (tmp_path / "model.tar.gz").touch()
    for name in ("model", "model.tar.gz", "model/mine", "model/mine/below"):
        with pytest.raises(ConfigError, match="cannot be exported"):
            export_version(settings, "1", tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "model", "model.tar.gz"]


def test_a_version_whose_profile_has_another_form_is_served_without_it(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_bundle(tmp_path / "model")
    facts = open_facts(tmp_path / "model")
    (tmp_path / "model/profile.json").write_text("{}")
    digest = seal(tmp_path / "model", **facts)
    made = ExportedVersion(name="satisfaction", version="7", digest=digest, threshold=0.5)
    (tmp_path / "model/version.json").write_text(made.model_dump_json())
    with watching(in_folder(settings, tmp_path / "model")) as current:
        assert current.readiness()["champion"] == "7"
        assert current.serving.champion.profile is None
    assert "The training profile of version 7 has another form" in caplog.text
