"""The versions in charge: swapped as a whole, kept whatever happens to the registry, the files and the aliases."""

import threading
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from pipeline.errors import RequestError
from pipeline.local.postgres import embedded
from pipeline.models import registry
from pipeline.models.mlflow_client import mlflow_client
from pipeline.models.scoring.scorer import Scorer
from pipeline.service.model.current import Current
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.company import company_settings
from tests.service.proxy import Wire
from tests.service.versions import ROWS, add_version, answers_of, routed, standing, with_service
from tests.service.watching import NOBODY, answers, answers_of_copy, copies, digest_of, problems, spoiled, watching
from tests.waiting import until


@pytest.fixture
def settings(watched: Settings) -> Settings:
    return watched


def test_the_champion_serves_and_a_moved_alias_swaps_it(settings: Settings) -> None:
    with watching(settings) as current:
        assert answers(current) == answers_of(settings, "1")
        assert current.serving.champion.profile is not None
        facts = current.readiness()
        assert (facts["status"], facts["champion"], facts["challenger"]) == ("ready", "1", None)
        assert (facts["loaded_from"], facts["problems"]) == ("registry", [])
        before = current.serving
        standing(settings, "3")
        until(lambda: current.readiness()["champion"] == "3")
        assert answers(current) == answers_of(settings, "3")
        assert before.score(ROWS, NOBODY).satisfaction == answers_of(settings, "1")
        until(lambda: current.readiness()["status"] == "ready")
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
    with watching(settings) as current:
        wire.cut()
        until(lambda: current.readiness()["status"] == "degraded")
        (problem,) = current.readiness()["problems"]
        assert problem["what"] == "registry"
        assert "does not answer" in problem["error"]
        assert answers(current) == answers_of_copy(settings, current)
        tries = wire.connections
        until(lambda: wire.connections > tries + 3)
        assert current.readiness()["problems"][0]["since"] == problem["since"]
        wire.mend()
        standing(settings, "2")
        until(lambda: current.readiness()["champion"] == "2" and current.readiness()["status"] == "ready")


def test_a_registry_that_falls_silent_counts_as_away(settings: Settings, wire: Wire, monkeypatch) -> None:
    from datetime import timedelta

    from pipeline.service.model import current as current_module

    monkeypatch.setattr(current_module, "OVERDUE", timedelta(seconds=0.3))
    with watching(settings) as current:
        wire.silent.set()
        until(lambda: current.readiness()["status"] == "degraded")
        assert "has not answered for more than" in problems(current)["registry"]
        assert answers(current)
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")


def test_without_a_registry_and_a_copy_it_says_so_and_recovers(settings: Settings, wire: Wire) -> None:
    wire.cut()
    with watching(settings) as current:
        assert current.readiness()["status"] == "not ready"
        with pytest.raises(RequestError, match=r"No model version is served\. .*does not answer") as refused:
            _ = current.serving
        assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "1"})
        wire.mend()
        until(lambda: current.readiness()["status"] == "ready")


def test_a_new_version_that_was_tampered_with_is_not_served(settings: Settings) -> None:
    folder, _ = registry.bundle_of(settings, "2")
    with watching(settings) as current:
        for name in ("scorer.npz", "profile.json", "bundle.json"):
            with spoiled(folder / name):
                standing(settings, "2")
                until(lambda name=name: name in problems(current).get("champion", ""))
                facts = current.readiness()
                assert (facts["status"], facts["champion"], list(problems(current))) == ("degraded", "1", ["champion"])
                assert answers(current) == answers_of(settings, "1")
                standing(settings, "1")
                until(lambda: current.readiness()["status"] == "ready")
        standing(settings, "2")
        until(lambda: current.readiness()["champion"] == "2")


def test_a_champion_that_was_withdrawn_without_a_successor_serves_on(settings: Settings) -> None:
    with watching(settings) as current:
        with transaction(settings) as connection:
            connection.execute(text("INSERT INTO withdrawn_versions VALUES ('1', now(), 'me', 'too gloomy')"))
        until(lambda: "was withdrawn: too gloomy" in problems(current).get("champion", ""))
        assert current.readiness()["status"] == "degraded"
        assert answers(current) == answers_of(settings, "1")
        standing(settings, None)
        until(lambda: "has no champion yet" in problems(current).get("champion", ""))
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
    with watching(routed(settings)) as current:
        scores = current.serving.score(rows, customers)
        assert scores.by_challenger is not None
        assert 50 < sum(scores.by_challenger) < 150
        by_version = {False: answers_of(settings, "1")[0], True: answers_of(settings, "3")[0]}
        assert scores.satisfaction == [by_version[is_its] for is_its in scores.by_challenger]
    with watching(routed(settings, "shadow")) as current:
        scores = current.serving.score(ROWS, NOBODY)
        assert scores.satisfaction == answers_of(settings, "1")
        assert current.serving.shadow(scores.values).satisfaction == answers_of(settings, "3")
    with watching(settings) as current:
        assert current.serving.challenger is None
        assert current.readiness()["status"] == "ready"
    standing(settings, "3", "3")  # as for a moment, when a promotion has moved one alias and not yet the other
    with watching(routed(settings)) as current:
        assert current.serving.challenger is None
        assert current.readiness()["status"] == "ready"


def test_a_challenger_that_cannot_serve_is_left_out_and_said(settings: Settings) -> None:
    standing(settings, "1", "5")
    with watching(routed(settings)) as current:
        facts = current.readiness()
        assert (facts["status"], facts["champion"], facts["challenger"]) == ("degraded", "1", None)
        assert (
            "needs features that the champion, version 1, does not have: unheard_of" in problems(current)["challenger"]
        )
        assert answers(current) == answers_of(settings, "1")
        client = mlflow_client(settings)
        foreign = str(client.create_model_version("satisfaction", source=settings.home.as_uri()).version)
        standing(settings, "1", foreign)
        until(lambda: "was not registered by Barometer" in problems(current).get("challenger", ""))
        client.delete_model_version("satisfaction", foreign)
        folder, _ = registry.bundle_of(settings, "3")
        with spoiled(folder / "scorer.npz"):
            standing(settings, "1", "3")
            until(lambda: "scorer.npz is not the registered one" in problems(current).get("challenger", ""))
            assert current.serving.challenger is None
        until(lambda: current.readiness()["challenger"] == "3" and current.readiness()["status"] == "ready")
        standing(settings, "1")
        until(lambda: current.readiness()["challenger"] is None and current.readiness()["status"] == "ready")


def test_a_model_that_answers_no_satisfaction_is_refused(settings: Settings, monkeypatch) -> None:
    current = Current(settings)
    current.refresh()
    standing(settings, "2")
    monkeypatch.setattr(Scorer, "satisfaction", lambda *_: np.array([np.nan]))
    current.refresh()
    assert "gives the satisfaction [nan" in problems(current)["champion"]
    assert current.readiness()["champion"] == "1"


def test_a_killed_embedded_server_ends_nothing_and_is_found_again(company: Path, tmp_path: Path) -> None:
    own = with_service(company_settings(company, tmp_path / "home"), refresh_seconds=0.05)
    try:
        with psycopg.connect(f"{embedded.attach(own.home).url}/postgres", autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # nothing is kept
            connection.execute("SELECT pg_reload_conf()")
        for number, gloom in enumerate((0.9, 0.1), 1):
            assert add_version(own, f"gloom {gloom}", gloom) == str(number)
        with watching(own) as current:
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

    with watching(settings) as current:
        readers = [threading.Thread(target=read, args=(current,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        for version in "231321":
            standing(settings, version)
            until(lambda version=version: current.readiness()["champion"] == version and version in seen)
        done.set()
        for reader in readers:
            reader.join(60)
    assert wrong == []
    assert seen == {"1", "2", "3"}
