"""The versions in charge: swapped as a whole, kept whatever happens to the registry, the files and the aliases."""

import json
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from pipeline.errors import ConfigError, ModelError, RequestError
from pipeline.models import registry
from pipeline.models.exported import export_version
from pipeline.models.scorer import Scorer
from pipeline.postgres import embedded
from pipeline.service import current as current_module
from pipeline.service.current import Current
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.company import company_settings
from tests.service.proxy import Wire
from tests.service.versions import (
    ROWS,
    add_version,
    altered,
    answers_of,
    record_batch,
    routed,
    standing,
    with_service,
)

NOBODY = [None] * len(ROWS)


@pytest.fixture
def settings(registered: Settings, wire: Wire) -> Iterator[Settings]:
    """Version 1 is champion, nothing was served yet, and the registry is looked at very often."""
    wire.mend()
    standing(registered, "1")
    shutil.rmtree(registered.home / "service", ignore_errors=True)
    yield with_service(registered, refresh_seconds=0.02)
    wire.mend()


@contextmanager
def started(settings: Settings) -> Iterator[Current]:
    current = Current(settings)
    current.start()
    try:
        yield current
    finally:
        current.stop()


def until(is_so: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def answers(current: Current) -> list[float]:
    return current.serving.score(ROWS, NOBODY).satisfaction


def problems(current: Current) -> dict[str, str]:
    return {problem["what"]: problem["error"] for problem in current.readiness()["problems"]}


def copies(settings: Settings) -> set[str]:
    return {path.name for path in (settings.home / "service/models").iterdir()}


def digest_of(settings: Settings, version: str) -> str:
    return registry.bundle_of(settings, version)[1]


@contextmanager
def spoiled(path: Path) -> Iterator[None]:
    content = altered(path)
    try:
        yield
    finally:
        path.write_bytes(content)


def test_the_champion_serves_and_a_moved_alias_swaps_it(settings: Settings) -> None:
    with started(settings) as current:
        assert answers(current) == answers_of(settings, "1")
        assert current.serving.champion.profile is not None
        facts = current.readiness()
        assert (facts["status"], facts["champion"], facts["challenger"]) == ("ready", "1", None)
        assert (facts["registry"]["state"], facts["loaded_from"], facts["problems"]) == ("ok", "registry", [])
        before = current.serving
        standing(settings, "3")
        until(lambda: current.readiness()["champion"] == "3")
        assert answers(current) == answers_of(settings, "3")
        assert before.score(ROWS, NOBODY).satisfaction == answers_of(settings, "1")
        assert current.readiness()["status"] == "ready"
        until(lambda: copies(settings) == {digest_of(settings, "3")})


def test_what_stays_is_not_loaded_again(settings: Settings) -> None:
    current = Current(settings)
    current.refresh()
    before = current.serving
    current.refresh()
    assert current.serving is before
    standing(settings, "1", "2")
    beside = Current(routed(settings))
    beside.refresh()
    first = beside.serving
    standing(settings, "2")
    beside.refresh()
    assert beside.serving.champion is first.challenger
    assert beside.serving.challenger is None


def test_while_the_registry_is_away_the_last_good_one_serves(settings: Settings, wire: Wire) -> None:
    with started(settings) as current:
        wire.cut()
        until(lambda: current.readiness()["status"] == "degraded")
        facts = current.readiness()
        assert facts["registry"]["state"] == "away"
        assert "does not answer" in facts["registry"]["error"]
        assert answers(current) == answers_of_one(settings, current)
        tries = wire.connections
        until(lambda: wire.connections > tries + 3)
        assert current.readiness()["registry"]["since"] == facts["registry"]["since"]
        wire.mend()
        standing(settings, "2")
        until(lambda: current.readiness()["champion"] == "2")
        assert current.readiness()["status"] == "ready"
        assert current.readiness()["registry"]["since"] > facts["registry"]["since"]


def answers_of_one(settings: Settings, current: Current) -> list[float]:
    """What the served version's own copy says, without the registry."""
    digest = current.serving.champion.digest
    scorer = Scorer.load(settings.home / "service/models" / digest, digest, threshold=0.5)
    return scorer.score(record_batch(ROWS, scorer.features)).column("satisfaction").to_pylist()


def test_a_registry_that_falls_silent_counts_as_away(settings: Settings, wire: Wire, monkeypatch) -> None:
    from datetime import timedelta

    from pipeline.service import problems as problems_module

    monkeypatch.setattr(problems_module, "OVERDUE", timedelta(seconds=0.3))
    with started(settings) as current:
        wire.silent.set()
        until(lambda: current.readiness()["registry"]["state"] == "away")
        assert "has not answered for more than" in problems(current)["registry"]
        assert answers(current)
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")


def test_at_the_start_the_local_copy_stands_in_for_the_registry(settings: Settings, wire: Wire) -> None:
    standing(settings, "2", "3")
    both = routed(settings, "shadow")
    with started(both):
        pass
    expected = answers_of(settings, "2")
    saved = json.loads((settings.home / "service/current.json").read_text())
    assert (saved["champion"]["version"], saved["challenger"]["version"]) == ("2", "3")
    wire.cut()
    with started(both) as current:
        facts = current.readiness()
        assert (facts["status"], facts["champion"], facts["challenger"]) == ("degraded", "2", "3")
        assert (facts["loaded_from"], facts["registry"]["state"]) == ("local copy", "away")
        assert answers(current) == expected
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
        assert current.readiness()["loaded_from"] == "registry"
    wire.cut()
    with started(settings) as current:
        assert current.serving.challenger is None


def test_a_copy_of_the_challenger_that_was_tampered_with_leaves_it_out(settings: Settings, wire: Wire) -> None:
    standing(settings, "2", "3")
    with started(routed(settings)):
        pass
    altered(settings.home / "service/models" / digest_of(settings, "3") / "model.onnx")
    wire.cut()
    with started(routed(settings)) as current:
        assert (current.readiness()["champion"], current.readiness()["challenger"]) == ("2", None)
        assert "model.onnx is not the registered one" in problems(current)["challenger"]
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
        assert current.readiness()["challenger"] == "3"


def test_a_start_does_not_wait_for_a_registry_that_says_nothing(settings: Settings, wire: Wire, monkeypatch) -> None:
    with started(settings):
        pass
    monkeypatch.setattr(current_module, "FIRST_LOOK_SECONDS", 0.2)
    wire.silent.set()
    began = time.monotonic()
    with started(settings) as current:
        assert time.monotonic() - began < 5
        assert current.readiness()["loaded_from"] == "local copy"
        assert answers(current)
        wire.mend()
        until(lambda: current.readiness()["loaded_from"] == "registry")


def test_a_copy_that_comes_late_does_not_replace_what_the_registry_gave(settings: Settings, monkeypatch) -> None:
    with started(settings):
        pass
    standing(settings, "2")
    whole, loaded = current_module.load, threading.Event()

    def load(found, routing, before):
        if threading.current_thread() is threading.main_thread():
            assert loaded.wait(20)  # the copy is read, then the registry's answer is put into service
        try:
            return whole(found, routing, before)
        finally:
            loaded.set()

    monkeypatch.setattr(current_module, "FIRST_LOOK_SECONDS", 0)
    monkeypatch.setattr(current_module, "load", load)
    with started(with_service(settings, refresh_seconds=20)) as current:
        until(lambda: current.readiness()["loaded_from"] == "registry")
        assert (current.readiness()["champion"], answers(current)) == ("2", answers_of(settings, "2"))


def test_without_a_registry_and_a_copy_it_says_so_and_recovers(settings: Settings, wire: Wire) -> None:
    wire.cut()
    with started(settings) as current:
        assert current.readiness()["status"] == "not ready"
        with pytest.raises(RequestError, match=r"No model version is served\. .*does not answer") as refused:
            _ = current.serving
        assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"1"),))
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "profile.json"])
def test_a_copy_that_was_tampered_with_is_refused_and_made_anew(settings: Settings, wire: Wire, name: str) -> None:
    with started(settings):
        pass
    altered(settings.home / "service/models" / digest_of(settings, "1") / name)
    wire.cut()
    with started(settings) as current:
        with pytest.raises(RequestError, match=rf"{name} is not the registered one".replace(".", r"\.")):
            _ = current.serving
        assert current.readiness()["status"] == "not ready"
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
    wire.cut()
    with started(settings) as current:
        assert current.readiness()["loaded_from"] == "local copy"


@pytest.mark.parametrize("content", ["", "{}", '{"champion": 1}', "[" * 100_000])
def test_a_record_of_copies_that_is_damaged_is_refused_and_made_anew(
    settings: Settings, wire: Wire, content: str
) -> None:
    with started(settings):
        pass
    record = settings.home / "service/current.json"
    record.write_text(content)
    wire.cut()
    with started(settings) as current:
        with pytest.raises(RequestError, match=r"current\.json is not as it was written"):
            _ = current.serving
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
    assert json.loads(record.read_text())["champion"]["version"] == "1"


def test_a_copy_of_another_model_is_refused(settings: Settings, wire: Wire) -> None:
    with started(settings):
        pass
    wire.cut()
    other = settings.model_copy(update={"model": settings.model.model_copy(update={"name": "other"})})
    with started(other) as current, pytest.raises(RequestError, match="The local copy is of the model 'satisfaction'"):
        _ = current.serving


def test_a_new_version_that_was_tampered_with_is_not_served(settings: Settings) -> None:
    folder, _ = registry.bundle_of(settings, "2")
    with started(settings) as current:
        for name in ("model.onnx", "profile.json", "bundle.json"):
            with spoiled(folder / name):
                standing(settings, "2")
                until(lambda name=name: name in problems(current).get("champion", ""))
                facts = current.readiness()
                assert (facts["status"], facts["champion"], facts["registry"]["state"]) == ("degraded", "1", "ok")
                assert answers(current) == answers_of(settings, "1")
                standing(settings, "1")
                until(lambda: current.readiness()["status"] == "ready")
        standing(settings, "2")
        until(lambda: current.readiness()["champion"] == "2")


def test_the_served_version_may_vanish_from_the_registrys_folder(settings: Settings, wire: Wire) -> None:
    folder, _ = registry.bundle_of(settings, "1")
    with started(settings) as current:
        expected = answers(current)
        hidden = folder.rename(folder.with_name("hidden"))
        try:
            current.refresh()
            assert (current.readiness()["status"], answers(current)) == ("ready", expected)
            with started(settings) as second:
                assert second.readiness()["loaded_from"] == "local copy"
                assert answers(second) == expected
        finally:
            hidden.rename(folder)


def test_a_champion_that_was_withdrawn_without_a_successor_serves_on(settings: Settings) -> None:
    with started(settings) as current:
        with transaction(settings) as connection:
            connection.execute(text("INSERT INTO withdrawn_versions VALUES ('1', now(), 'me', 'too gloomy')"))
        until(lambda: current.readiness()["status"] == "degraded")
        assert "was withdrawn: too gloomy" in problems(current)["champion"]
        assert answers(current) == answers_of(settings, "1")
        standing(settings, None)
        until(lambda: "has no champion yet" in problems(current)["champion"])
        assert answers(current) == answers_of(settings, "1")
        standing(settings, "2")
        until(lambda: current.readiness()["status"] == "ready")


def test_a_rollback_between_two_looks_at_the_registry_is_no_withdrawal(settings: Settings, monkeypatch) -> None:
    """The alias moves first, the withdrawal is written second; the service looks before the one and after the other."""
    whole = registry.withdrawn

    def withdrawn_meanwhile(its_settings: Settings, version: str) -> str | None:
        monkeypatch.setattr(registry, "withdrawn", whole)
        standing(settings, "2")
        with transaction(settings) as connection:
            connection.execute(text("INSERT INTO withdrawn_versions VALUES ('1', now(), 'me', 'too gloomy')"))
        return whole(its_settings, version)

    monkeypatch.setattr(registry, "withdrawn", withdrawn_meanwhile)
    current = Current(settings)
    current.refresh()
    assert (current.readiness()["status"], current.readiness()["champion"]) == ("ready", "2")


def test_the_challenger_takes_part_as_routing_says(settings: Settings) -> None:
    standing(settings, "1", "3")
    customers = [f"c{number}" for number in range(200)]
    rows = [ROWS[0]] * 200
    with started(routed(settings)) as current:
        scores = current.serving.score(rows, customers)
        assert scores.by_challenger is not None
        assert 50 < sum(scores.by_challenger) < 150
        by_version = {False: answers_of(settings, "1")[0], True: answers_of(settings, "3")[0]}
        assert scores.satisfaction == [by_version[is_its] for is_its in scores.by_challenger]
    with started(routed(settings, "shadow")) as current:
        scores = current.serving.score(ROWS, NOBODY)
        assert scores.satisfaction == answers_of(settings, "1")
        assert current.serving.shadow(scores.columns).satisfaction == answers_of(settings, "3")
    with started(settings) as current:
        assert current.serving.challenger is None
        assert current.readiness()["status"] == "ready"
    standing(settings, "3", "3")  # as for a moment, when a promotion has moved one alias and not yet the other
    with started(routed(settings)) as current:
        assert current.serving.challenger is None
        assert current.readiness()["status"] == "ready"


def test_a_challenger_that_cannot_serve_is_left_out_and_said(settings: Settings) -> None:
    standing(settings, "1", "5")
    with started(routed(settings)) as current:
        facts = current.readiness()
        assert (facts["status"], facts["champion"], facts["challenger"]) == ("degraded", "1", None)
        assert (
            "needs features that the champion, version 1, does not have: unheard_of" in problems(current)["challenger"]
        )
        assert answers(current) == answers_of(settings, "1")
        folder, _ = registry.bundle_of(settings, "3")
        with spoiled(folder / "model.onnx"):
            standing(settings, "1", "3")
            until(lambda: "model.onnx is not the registered one" in problems(current).get("challenger", ""))
            assert current.serving.challenger is None
        until(lambda: current.readiness()["challenger"] == "3")
        assert current.readiness()["status"] == "ready"
        standing(settings, "1")
        until(lambda: current.readiness()["challenger"] is None)
        assert current.readiness()["status"] == "ready"


def test_a_model_that_answers_no_satisfaction_is_refused(settings: Settings, monkeypatch) -> None:
    current = Current(settings)
    current.refresh()
    standing(settings, "2")
    monkeypatch.setattr(Scorer, "satisfaction", lambda *_: np.array([np.nan]))
    current.refresh()
    assert "gives the satisfaction [nan" in problems(current)["champion"]
    assert current.readiness()["champion"] == "1"


def test_a_copy_that_cannot_be_written_is_said_and_harms_nothing(settings: Settings) -> None:
    (settings.home / "service").write_text("in the way")
    try:
        with started(settings) as current:
            assert current.readiness()["status"] == "degraded"
            assert list(problems(current)) == ["copy"]
            assert answers(current) == answers_of(settings, "1")
            (settings.home / "service").unlink()
            until(lambda: current.readiness()["status"] == "ready")
    finally:
        if (settings.home / "service").is_file():
            (settings.home / "service").unlink()


def test_a_killed_embedded_server_ends_nothing_and_is_found_again(company: Path, tmp_path: Path) -> None:
    own = with_service(company_settings(company, tmp_path / "home"), refresh_seconds=0.05)
    try:
        with psycopg.connect(f"{embedded.attach(own.home).url}/postgres", autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # nothing is kept
            connection.execute("SELECT pg_reload_conf()")
        for number, gloom in enumerate((0.9, 0.1), 1):
            assert add_version(own, f"gloom {gloom}", gloom) == str(number)
        with started(own) as current:
            expected = answers(current)
            for version in ("2", "1"):
                postmaster = embedded.attach(own.home).postmaster
                assert postmaster is not None
                postmaster.kill()
                postmaster.wait()
                assert answers(current)
                standing(own, version)
                until(lambda version=version: current.readiness()["champion"] == version)
                until(lambda: current.readiness()["status"] == "ready")
            assert answers(current) == expected
    finally:
        embedded.remove(own.home)


def test_two_services_of_one_home_share_its_copies(settings: Settings) -> None:
    with started(settings) as one, started(settings) as other:
        for version in "231":
            standing(settings, version)
            for current in (one, other):
                until(lambda current=current, version=version: current.readiness()["champion"] == version)
        until(lambda: copies(settings) == {digest_of(settings, "1")})
        assert (problems(one), problems(other)) == ({}, {})


def test_readers_meet_one_version_or_the_other_never_half_of_each(settings: Settings) -> None:
    expected = {version: answers_of(settings, version) for version in "123"}
    wrong: list[object] = []
    seen: set[str] = set()
    done = threading.Event()

    def read(current: Current) -> None:
        while not done.is_set():
            serving = current.serving
            version = serving.champion.version
            if serving.score(ROWS, NOBODY).satisfaction != expected[version]:
                wrong.append(version)
            seen.add(version)

    with started(settings) as current:
        readers = [threading.Thread(target=read, args=(current,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        for version in "231321":
            standing(settings, version)
            until(lambda version=version: current.readiness()["champion"] == version)
        done.set()
        for reader in readers:
            reader.join(20)
    assert wrong == []
    assert seen == {"1", "2", "3"}


def in_folder(settings: Settings, folder: Path | str) -> Settings:
    """The settings of a container: no registry, no warehouse, another home."""
    database = settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1"})
    served = with_service(settings, model_folder=str(folder))
    return served.model_copy(update={"database": database, "home": settings.home / "container"})


def test_an_exported_version_is_served_from_its_folder(settings: Settings, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"model": settings.model.model_copy(update={"threshold": 0.9})})
    assert export_version(strict, "3", tmp_path / "model").threshold == 0.9
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "bundle.json", "model.onnx", "profile.json", "version.json",
    ]  # fmt: skip
    expected = answers_of(settings, "3")
    for folder in (tmp_path / "model", tmp_path):  # the second as Azure has it
        container = in_folder(settings, folder)
        with started(container) as current:
            facts = current.readiness()
            assert (facts["status"], facts["champion"], facts["loaded_from"]) == ("ready", "3", "folder")
            assert facts["registry"] == {"state": "not used", "since": None, "error": None}
            scores = current.serving.score(ROWS, NOBODY)
            assert scores.satisfaction == expected
            assert scores.likely_satisfied == [one >= 0.9 for one in expected]
            until(lambda current=current: not current._thread.is_alive())
        assert not container.home.exists()


def test_an_exported_archive_holds_the_same_at_its_root(settings: Settings, tmp_path: Path) -> None:
    export_version(settings, "current", tmp_path / "model.tar.gz")
    export_version(settings, "1", tmp_path / "again.tar.gz")
    assert (tmp_path / "model.tar.gz").read_bytes() == (tmp_path / "again.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "opt/ml/model", filter="data")
    with started(in_folder(settings, tmp_path / "opt/ml/model")) as current:
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
    with started(container) as current:
        assert (current.readiness()["status"], answers(current)) == ("ready", answers_of(settings, "2"))
    for name in ("bundle.json", "model.onnx", "profile.json"):
        filesystem.rm(f"{tmp_path}/there/nested/{name}")
    with started(container) as current:
        assert current.readiness()["status"] == "ready"
    filesystem.rm(f"{tmp_path}/there", recursive=True)
    with started(container) as current:
        assert current.readiness()["status"] == "degraded"
        assert current.readiness()["loaded_from"] == "local copy"
        assert answers(current) == answers_of(settings, "2")


def test_a_folder_that_is_none_or_was_tampered_with_is_refused_until_it_is_right(
    settings: Settings, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    with started(in_folder(settings, tmp_path)) as current:
        with pytest.raises(RequestError, match=r"holds no version\.json.*barometer models export"):
            _ = current.serving
        export_version(settings, "1", tmp_path / "aside")
        content = altered(tmp_path / "aside/model.onnx")
        (tmp_path / "aside").rename(model)
        until(lambda: "model.onnx is not the registered one" in problems(current)["champion"])
        (model / "model.onnx").write_bytes(content)
        until(lambda: current.readiness()["status"] == "ready")
    whole = json.loads((model / "version.json").read_text())
    for other in ({"version": "1"}, {**whole, "digest": "../elsewhere"}):
        (model / "version.json").write_text(json.dumps(other))
        with started(in_folder(settings, model)) as current, pytest.raises(RequestError, match="has another form"):
            _ = current.serving
    shutil.copytree(model, tmp_path / "second")
    with started(in_folder(settings, tmp_path)) as current, pytest.raises(RequestError, match="holds 2 version"):
        _ = current.serving
    with (
        started(in_folder(settings, "nowhere://model")) as current,
        pytest.raises(RequestError, match="cannot be reached"),
    ):
        _ = current.serving


def test_a_folder_may_be_named_by_a_variable(settings: Settings, tmp_path: Path, monkeypatch) -> None:
    export_version(settings, "1", tmp_path / "model")
    with pytest.raises(ConfigError, match="AZUREML_MODEL_DIR is not set"):
        Current(in_folder(settings, "$AZUREML_MODEL_DIR"))
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with started(in_folder(settings, "$AZUREML_MODEL_DIR")) as current:
        assert current.readiness()["status"] == "ready"


def test_what_may_not_be_served_is_not_exported(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no version '99'"):
        export_version(settings, "99", tmp_path / "model")
    with (
        spoiled(registry.bundle_of(settings, "1")[0] / "model.onnx"),
        pytest.raises(ModelError, match=r"model\.onnx is not"),
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
