"""Rollback: what is withdrawn, what is put back, and which weeks to score again."""

import pytest

from pipeline import warehouse
from pipeline.errors import ModelError
from pipeline.models import registry
from pipeline.models.mlflow_client import mlflow_client
from pipeline.promotion.promote import promote
from pipeline.promotion.rollback import RolledBack, rollback
from pipeline.settings import Settings
from pipeline.warehouse import runs
from tests.promotion.conftest import MARCH, entries, in_force, passed
from tests.promotion.deaths import killed_everywhere
from tests.promotion.test_promote import APRIL, YES
from tests.published import publish_week


def rolled_back(settings: Settings, **given: str) -> RolledBack:
    asked = {"role": "champion", "to": None, "reason": "too gloomy", "asked_by": "me"}
    return rollback(settings, **{**asked, **given})


@pytest.fixture
def promoted(three: Settings) -> Settings:
    """Version 2 is champion from the end of March on, version 3 the week after."""
    promote(three, passed(three, "2", week=APRIL), YES)
    promote(three, passed(three, "3", week=APRIL.plus(1)), YES)
    return three


def test_the_champion_is_withdrawn_and_the_one_before_it_is_back(promoted: Settings) -> None:
    done = rolled_back(promoted)
    assert (done.entry.from_version, done.entry.to_version, done.entry.kind) == ("3", "2", "rollback")
    assert (done.weeks, done.commands) == ([], [])
    assert registry.champion(promoted) == "2"
    assert registry.withdrawn(promoted, "3") == "too gloomy"
    assert [in_force(promoted, week) for week in (MARCH, APRIL, APRIL.plus(1), APRIL.plus(5))] == ["1", "2", "2", "2"]
    rolled_back(promoted)
    assert registry.champion(promoted) == "1"
    assert {in_force(promoted, week) for week in (MARCH, APRIL, APRIL.plus(5))} == {"1"}
    with pytest.raises(ModelError, match="There is no version to put in the place of version 1") as refused:
        rolled_back(promoted)
    assert "barometer promote VERSION" in refused.value.do
    assert registry.champion(promoted) == "1"


def test_a_named_version_is_put_back_if_it_was_in_force_before(promoted: Settings) -> None:
    with pytest.raises(ModelError, match="Version 4 was never in force"):
        rolled_back(promoted, to="4")
    assert rolled_back(promoted, to="1").entry.to_version == "1"
    with pytest.raises(ModelError, match="Version 3 was never in force, or was withdrawn"):
        rolled_back(promoted, to="3")


def test_a_damaged_version_is_not_put_back(promoted: Settings) -> None:
    folder, _ = registry.bundle_of(promoted, "2")
    content = (folder / "scorer.npz").read_bytes()
    (folder / "scorer.npz").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"Version 2 cannot be put back. .*scorer\.npz is not the registered one"):
        rolled_back(promoted)
    (folder / "scorer.npz").write_bytes(content)
    assert registry.champion(promoted) == "3"


def test_the_weeks_it_published_are_named_with_the_versions_in_force_now(promoted: Settings) -> None:
    ab = {"mode": "ab", "challenger": {"model_version": "3"}}
    for week, version, routing in [
        (APRIL.plus(-1), "1", ab),
        (APRIL, "2", None),
        (APRIL.plus(1), "3", None),
        (APRIL.plus(2), "3", None),
        (APRIL.plus(4), "3", None),
    ]:
        publish_week(promoted, week, [("c1", "p1", 0.5, None)], model_version=version, routing=routing)
    done = rolled_back(promoted)
    assert done.weeks == [APRIL.plus(n) for n in (-1, 1, 2, 4)]
    assert done.commands == [
        f"barometer backfill --from {APRIL.plus(-1)} --to {APRIL.plus(-1)} --model 1",
        f"barometer backfill --from {APRIL.plus(1)} --to {APRIL.plus(2)} --model 2",
        f"barometer backfill --from {APRIL.plus(4)} --to {APRIL.plus(4)} --model 2",
    ]
    repeated = registry.choose_model(promoted, week=APRIL.plus(1), requested="auto", published_version="3")
    assert (repeated.model_version, repeated.model_reason) == (
        "3",
        "made the week's published predictions, though it was withdrawn since",
    )
    assert runs.published_run(promoted, APRIL.plus(1)).model_version == "3"


def test_the_challenger_is_taken_out_but_not_withdrawn(promoted: Settings) -> None:
    with pytest.raises(ModelError, match="No version is the challenger"):
        rolled_back(promoted, role="challenger")
    promote(promoted, passed(promoted, "1", "challenger"), YES)
    assert rolled_back(promoted, role="challenger").entry.to_version is None
    assert (registry.champion(promoted), registry.challenger(promoted)) == ("3", None)
    assert registry.withdrawn(promoted, "1") is None


def test_a_withdrawn_version_is_used_nowhere_even_when_its_alias_is_set_by_hand(promoted: Settings) -> None:
    rolled_back(promoted)
    client = mlflow_client(promoted)
    client.set_registered_model_alias("satisfaction", "challenger", "3")
    assert registry.challenger(promoted) is None
    client.set_registered_model_alias("satisfaction", "champion", "3")
    with pytest.raises(ModelError, match=r"Version 3, which has the alias .* was withdrawn: too gloomy"):
        registry.choose_model(promoted, week=APRIL, requested="current", published_version=None)
    rolled_back(promoted)
    assert registry.champion(promoted) == "2"


def test_a_week_without_a_version_in_force_is_refused_with_the_way_out(promoted: Settings) -> None:
    with pytest.raises(ModelError, match=r"No model version was in force .* barometer train --as-of 2026-02-23"):
        registry.choose_model(promoted, week=MARCH.plus(-1), requested="auto", published_version=None)


def test_a_rollback_killed_between_any_two_steps_takes_out_one_version_when_tried_again(promoted: Settings) -> None:
    states = []
    for _ in killed_everywhere(rolled_back, promoted):
        states.append(entries(promoted)[-1].state)
        rolled_back(promoted)
        with warehouse.transaction(promoted) as connection:
            withdrawn = connection.exec_driver_sql("DELETE FROM withdrawn_versions RETURNING model_version").scalars()
            assert list(withdrawn) == ["3"]
        assert registry.champion(promoted) == "2"
        promote(promoted, passed(promoted, "3", week=APRIL.plus(1)), YES)
    assert states == ["completed", "begun", "begun", "begun"]  # the first before anything of it was written
