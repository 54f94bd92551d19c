"""The local copy of what is served: used at the start if the registry is away, checked, and made again if damaged."""

import json
import threading
import time

import pytest

from pipeline.errors import RequestError
from pipeline.models import registry
from pipeline.service.model import current as current_module
from pipeline.settings import Settings
from tests.service.proxy import Wire
from tests.service.versions import altered, answers_of, routed, standing, with_service
from tests.service.watching import answers, copies, copy_of, digest_of, problems, watching
from tests.waiting import until


@pytest.fixture
def settings(watched: Settings) -> Settings:
    return watched


def test_at_the_start_the_local_copy_stands_in_for_the_registry(settings: Settings, wire: Wire) -> None:
    standing(settings, "2", "3")
    both = routed(settings, "shadow")
    with watching(both):
        pass
    expected = answers_of(settings, "2")
    saved = [json.loads((copy_of(settings, role) / "version.json").read_text()) for role in ("champion", "challenger")]
    assert [version["version"] for version in saved] == ["2", "3"]
    wire.cut()
    with watching(both) as current:
        facts = current.readiness()
        assert (facts["status"], facts["champion"], facts["challenger"]) == ("degraded", "2", "3")
        assert (facts["loaded_from"], list(problems(current))) == ("local copy", ["registry"])
        assert answers(current) == expected
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready" and current.readiness()["loaded_from"] == "registry")
    wire.cut()
    with watching(settings) as current:
        assert current.serving.challenger is None


def test_a_copy_of_the_challenger_that_was_tampered_with_leaves_it_out(settings: Settings, wire: Wire) -> None:
    standing(settings, "2", "3")
    with watching(routed(settings)):
        pass
    altered(copy_of(settings, "challenger") / "scorer.npz")
    wire.cut()
    with watching(routed(settings)) as current:
        assert (current.readiness()["champion"], current.readiness()["challenger"]) == ("2", None)
        assert "scorer.npz is not the registered one" in problems(current)["challenger"]
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
        assert current.readiness()["challenger"] == "3"


def test_a_start_does_not_wait_for_a_registry_that_says_nothing(settings: Settings, wire: Wire, monkeypatch) -> None:
    with watching(settings):
        pass
    monkeypatch.setattr(current_module, "FIRST_LOOK_SECONDS", 0.2)
    wire.silent.set()
    began = time.monotonic()
    with watching(settings) as current:
        assert time.monotonic() - began < 30
        assert current.readiness()["loaded_from"] == "local copy"
        assert answers(current)
        wire.mend()
        until(lambda: current.readiness()["loaded_from"] == "registry")


def test_a_copy_that_comes_late_does_not_replace_what_the_registry_gave(settings: Settings, monkeypatch) -> None:
    with watching(settings):
        pass
    standing(settings, "2")
    whole, loaded = current_module.load, threading.Event()

    def load(found, routing, before):
        if threading.current_thread() is threading.main_thread():
            assert loaded.wait(60)  # the copy is read, then the registry's answer is put into service
        try:
            return whole(found, routing, before)
        finally:
            loaded.set()

    monkeypatch.setattr(current_module, "FIRST_LOOK_SECONDS", 0)
    monkeypatch.setattr(current_module, "load", load)
    with watching(with_service(settings, refresh_seconds=20)) as current:
        until(lambda: current.readiness()["loaded_from"] == "registry")
        assert (current.readiness()["champion"], answers(current)) == ("2", answers_of(settings, "2"))


@pytest.mark.parametrize("name", ["scorer.npz", "bundle.json", "profile.json"])
def test_a_copy_that_was_tampered_with_is_refused_and_made_anew(settings: Settings, wire: Wire, name: str) -> None:
    with watching(settings):
        pass
    altered(copy_of(settings) / name)
    wire.cut()
    with watching(settings) as current:
        with pytest.raises(RequestError, match=rf"{name} is not the registered one".replace(".", r"\.")):
            _ = current.serving
        assert current.readiness()["status"] == "not ready"
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
    wire.cut()
    with watching(settings) as current:
        assert current.readiness()["loaded_from"] == "local copy"


@pytest.mark.parametrize("content", ["", "{}", '{"champion": 1}', "[" * 100_000])
def test_a_record_of_copies_that_is_damaged_is_refused_and_made_anew(
    settings: Settings, wire: Wire, content: str
) -> None:
    with watching(settings):
        pass
    (copy_of(settings) / "version.json").write_text(content)
    wire.cut()
    with watching(settings) as current:
        with pytest.raises(RequestError, match=r"version\.json has another form.*remove .*/copies-"):
            _ = current.serving
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")
    assert json.loads((copy_of(settings) / "version.json").read_text())["version"] == "1"


def test_a_copy_of_another_model_is_not_served(settings: Settings, wire: Wire) -> None:
    with watching(settings):
        pass
    wire.cut()
    other = settings.model_copy(update={"model": settings.model.model_copy(update={"name": "other"})})
    with watching(other) as current, pytest.raises(RequestError, match="No model version is served"):
        _ = current.serving


def test_the_served_version_may_vanish_from_the_registrys_folder(settings: Settings, wire: Wire) -> None:
    folder, _ = registry.bundle_of(settings, "1")
    with watching(settings) as current:
        expected = answers(current)
        hidden = folder.rename(folder.with_name("hidden"))
        try:
            current.refresh()
            assert (current.readiness()["status"], answers(current)) == ("ready", expected)
            with watching(settings) as second:
                assert second.readiness()["loaded_from"] == "local copy"
                assert answers(second) == expected
        finally:
            hidden.rename(folder)


def test_a_copy_that_cannot_be_written_is_said_and_harms_nothing(settings: Settings) -> None:
    (settings.home / "service").write_text("in the way")
    try:
        with watching(settings) as current:
            assert current.readiness()["status"] == "degraded"
            assert list(problems(current)) == ["copy"]
            assert answers(current) == answers_of(settings, "1")
            (settings.home / "service").unlink()
            until(lambda: current.readiness()["status"] == "ready")
    finally:
        if (settings.home / "service").is_file():
            (settings.home / "service").unlink()


def test_two_services_of_one_home_share_its_copies(settings: Settings) -> None:
    with watching(settings) as one, watching(settings) as other:
        for version in "231":
            standing(settings, version)
            for current in (one, other):
                until(lambda current=current, version=version: current.readiness()["champion"] == version)
        until(lambda: copies(settings) == {digest_of(settings, "1")})
        until(lambda: (problems(one), problems(other)) == ({}, {}))  # one may have met the other at work
