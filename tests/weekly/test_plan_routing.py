"""Which part the challenger has in a run: today's beside today's champion, else what was recorded, or none."""

import itertools
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ModelError
from pipeline.models.bundle import BUNDLE_FILE, seal
from pipeline.models.mlflow_client import mlflow_client
from pipeline.models.registry import DIGEST_TAG
from pipeline.models.routing import CHALLENGER
from pipeline.orchestration.run_facts import run_facts
from pipeline.settings import Settings
from pipeline.training.register import register
from pipeline.weekly.handoffs import Plan
from pipeline.weekly.plan import plan
from pipeline.weeks import Week
from tests.company import company_settings, own_database
from tests.published import publish_week
from tests.tiny_model import evaluated_as_of, open_facts, tiny_bundle

AB = {"mode": "ab", "fraction": 0.25, "salt": "spring"}
FIRST = Week.parse("2025-03-03")
LATER = FIRST.plus(20)
"""What the versions know that come after the first one."""
WEEKS = map(FIRST.plus, itertools.count())
"""A week of its own for each test."""


class Installation:
    """A registry whose version 1 is the champion, and a week to plan."""

    def __init__(self, settings: Settings, week: Week) -> None:
        self.settings = settings
        self.week = week

    def challenge(self, version: str | None) -> None:
        """Move the alias of challenger."""
        client, name = mlflow_client(self.settings), self.settings.model.name
        if version:
            client.set_registered_model_alias(name, CHALLENGER, version)
        else:
            client.delete_registered_model_alias(name, CHALLENGER)

    def plan(self, model: str = "current", week: Week | None = None, **routing: Any) -> Plan:
        configured = {"routing": self.settings.routing.model_copy(update=routing)}
        settings = self.settings.model_copy(update=configured)
        return plan(settings, week=week or self.week, model=model, rebuild=False, airflow_run_id="manual__1")

    def recorded(self, made: Plan) -> dict[str, Any]:
        routing: dict[str, Any] = run_facts(made, made)["routing"]
        return routing

    def publish(self, made: Plan) -> None:
        """Publish the week as this plan's run would have."""
        facts = {"model_version": made.model_version, "routing": self.recorded(made)}
        publish_week(self.settings, self.week, [("c1", "p1", 0.5, None)], **facts)


@pytest.fixture(scope="module")
def registered(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    folder = tmp_path_factory.mktemp("plans")
    settings = company_settings(company, folder / "home", **own_database(server_url))
    tiny_bundle(folder / "bundle/model")
    for version, week in {"1": FIRST, "2": LATER, "3": LATER, "sealed anew": LATER, "lost": LATER}.items():
        register(settings, *evaluated_as_of(settings, folder / "bundle/model", week, version))
    return settings


@pytest.fixture
def here(registered: Settings) -> Installation:
    """Version 2 is the challenger."""
    installation = Installation(registered, next(WEEKS))
    installation.challenge("2")
    return installation


def test_todays_champion_is_joined_by_todays_challenger(here: Installation) -> None:
    made = here.plan(**AB)
    challenger = made.routing.challenger
    assert challenger is not None
    assert (made.model_version, made.trained_after_cutoff) == ("1", False)
    assert (challenger.model_version, challenger.trained_after_cutoff) == ("2", True)
    assert (challenger.bundle / BUNDLE_FILE).exists()
    facts = {"model_version": "2", "bundle_digest": challenger.bundle_digest, "trained_after_cutoff": True}
    assert here.recorded(made) == {**AB, "challenger": facts, "reason": "as configured"}
    assert run_facts(made, made)["trained_after_cutoff"], "a model that serves it does"
    shadow = here.plan(mode="shadow")
    assert shadow.routing.challenger == challenger
    assert not run_facts(shadow, shadow)["trained_after_cutoff"], "no model that serves it does"


def test_the_last_complete_week_is_routed_by_itself(here: Installation) -> None:
    last_complete = Week.last_complete(datetime.now(UTC), here.settings.zone)
    assert here.plan("auto", last_complete, **AB).routing.mode == "ab"


@pytest.mark.parametrize("model", ["auto", "1", "2"])
def test_a_past_week_and_a_named_version_are_the_champions_alone(here: Installation, model: str) -> None:
    made = here.plan(model, **AB)
    assert (made.routing.mode, made.routing.challenger) == ("off", None)
    assert here.recorded(made)["reason"] == "only today's champion has a challenger beside it"


@pytest.mark.parametrize("alias", [None, "1"])
def test_without_a_challenger_beside_the_champion_it_serves_alone_and_the_record_says_why(
    here: Installation, alias: str | None
) -> None:
    here.challenge(alias)
    assert here.recorded(here.plan())["reason"] == "routing is off"
    for mode in ("ab", "shadow"):
        made = here.plan(mode=mode)
        assert (made.routing.mode, made.routing.challenger) == ("off", None)
        reason = f"{mode} is configured, but there is no challenger beside the champion"
        assert here.recorded(made)["reason"] == reason


@pytest.mark.parametrize("mode", ["ab", "shadow"])
def test_a_published_weeks_routing_is_repeated_whatever_has_changed_since(here: Installation, mode: str) -> None:
    first = here.plan(**{**AB, "mode": mode})
    here.publish(first)
    here.challenge("3")
    for changed in ({"mode": "off"}, {"mode": "ab", "fraction": 0.9, "salt": "summer"}, {"mode": "shadow"}):
        again = here.plan("auto", **changed)
        assert again.routing.model_copy(update={"reason": ""}) == first.routing.model_copy(update={"reason": ""})
        assert here.recorded(again)["reason"] == f"as in the run {here.week}.2, which is repeated"
    todays = here.plan("current", mode=mode).routing.challenger
    assert todays is not None
    assert todays.model_version == "3"
    assert here.plan("1", mode=mode).routing.challenger is None


def test_a_challenger_that_was_sealed_anew_is_repeated_by_its_recorded_digest(here: Installation) -> None:
    """So that scoring refuses it: the rows would be others."""
    here.challenge("4")
    first = here.plan(**AB)
    here.publish(first)
    assert first.routing.challenger is not None
    folder = first.routing.challenger.bundle
    digest = seal(folder, **{**open_facts(folder), "code_version": "another"})
    mlflow_client(here.settings).set_model_version_tag(here.settings.model.name, "4", DIGEST_TAG, digest)
    again = here.plan("auto").routing.challenger
    assert again is not None
    assert again.bundle_digest == first.routing.challenger.bundle_digest != digest


@pytest.mark.parametrize("published", [None, {"mode": "off", "fraction": 0.0, "salt": "", "challenger": None}])
def test_a_week_published_without_a_challenger_is_repeated_without(here: Installation, published) -> None:
    routing = published and {**published, "reason": "routing is off"}
    publish_week(here.settings, here.week, [("c1", "p1", 0.5, None)], routing=routing)
    made = here.plan("auto", **AB)
    assert (made.routing.mode, made.routing.reason) == ("off", f"as in the run {here.week}.1, which is repeated")


def test_a_challenger_that_cannot_be_used_ends_an_ab_test_and_of_another_run_only_the_shadow(
    here: Installation,
) -> None:
    here.challenge("5")
    first = here.plan(**AB)
    here.publish(first)
    assert first.routing.challenger is not None
    shutil.rmtree(first.routing.challenger.bundle)
    for model in ("current", "auto"):
        with pytest.raises(ModelError, match="The challenger, version 5, cannot score") as refused:
            here.plan(model, **AB)
        assert "barometer rollback --challenger" in refused.value.do
    made = here.plan(mode="shadow")
    assert made.routing.mode == "off"
    assert "nothing is scored in the shadow. The challenger, version 5" in here.recorded(made)["reason"]
