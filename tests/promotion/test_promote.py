"""Promotion: the alias and its history agree after a kill at any point, two at once, and moves by hand in MLflow."""

import threading

import pytest
from sqlalchemy import text

from pipeline import warehouse
from pipeline.errors import ModelError
from pipeline.models import registry, role_history
from pipeline.models.mlflow_client import mlflow_client
from pipeline.promotion.handoffs import Approved, Gated
from pipeline.promotion.promote import promote, reject
from pipeline.settings import Settings
from pipeline.weeks import Week
from tests.promotion.conftest import MARCH, entries, gated_as, in_force, passed
from tests.promotion.deaths import killed_everywhere

YES = Approved(approved=True, decided_by="approver")
APRIL = Week.parse("2026-03-30")


def test_a_promotion_counts_from_its_week_and_says_who_and_why(three: Settings) -> None:
    done = promote(three, passed(three, "2", week=APRIL), Approved(approved=True, decided_by="me", comment="as agreed"))
    assert (done.version, done.role, done.from_week, done.from_version) == ("2", "champion", str(APRIL), "1")
    assert registry.champion(three) == "2"
    assert [in_force(three, week) for week in (MARCH, APRIL.plus(-1), APRIL, APRIL.plus(9))] == ["1", "1", "2", "2"]
    entry = entries(three)[-1]
    assert (entry.state, entry.asked_by, entry.promoted_by) == ("completed", "asker", "me")
    assert (entry.reason, entry.repaired) == ("a test; approved: as agreed", None)


def test_a_later_promotion_supersedes_those_before_it_from_its_week_on(three: Settings) -> None:
    promote(three, passed(three, "2", week=APRIL), YES)
    promote(three, passed(three, "3", week=MARCH.plus(1)), YES)
    weeks = [MARCH, MARCH.plus(1), APRIL, APRIL.plus(1)]
    assert [in_force(three, week) for week in weeks] == ["1", "3", "3", "3"]


def test_a_challenger_that_becomes_champion_is_no_challenger_any_more(three: Settings) -> None:
    promote(three, passed(three, "2", "challenger"), YES)
    assert (registry.champion(three), registry.challenger(three)) == ("1", "2")
    assert in_force(three, MARCH) == "1"
    promote(three, passed(three, "2"), YES)
    assert (registry.champion(three), registry.with_alias(three, "challenger")) == ("2", None)
    assert [(e.role, e.from_version, e.to_version) for e in entries(three)[-2:]] == [
        ("champion", "1", "2"),
        ("challenger", "2", None),
    ]


def test_a_rejection_is_on_record_and_final(three: Settings) -> None:
    gated = passed(three, "2")
    reject(three, gated, decided_by="boss", comment="not before Christmas")
    entry = entries(three)[-1]
    assert (entry.state, entry.promoted_by, entry.reason) == (
        "rejected",
        "boss",
        "a test; rejected: not before Christmas",
    )
    with pytest.raises(ModelError, match="Its promotion was rejected"):
        promote(three, gated, YES)
    assert registry.champion(three) == "1"


def test_what_changed_since_the_gate_is_noticed(three: Settings) -> None:
    gated = passed(three, "2")
    promote(three, passed(three, "3"), YES)
    with pytest.raises(ModelError, match="The champion is version 3 now; the gate compared it to version 1"):
        promote(three, gated, YES)
    gated = passed(three, "2")
    folder, _ = registry.bundle_of(three, "2")
    content = (folder / "scorer.npz").read_bytes()
    (folder / "scorer.npz").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"scorer\.npz is not the registered one"):
        promote(three, gated, YES)
    (folder / "scorer.npz").write_bytes(content)
    with warehouse.transaction(three) as connection:
        connection.execute(text("INSERT INTO withdrawn_versions VALUES ('2', now(), 'me', 'gloomy')"))
    with pytest.raises(ModelError, match="It has been withdrawn"):
        promote(three, gated, YES)
    assert registry.champion(three) == "3"


def promote_the_open_one(settings: Settings) -> None:
    """Promote version 2, the challenger, which moves two aliases."""
    (asked,) = [entry for entry in entries(settings) if entry.state == "asked"]
    promote(settings, gated_as(asked), YES)


def test_a_promotion_killed_between_any_two_steps_is_completed_by_trying_again(three: Settings) -> None:
    states, repairs = [], set()

    def begin() -> Gated:
        promote(three, passed(three, "3"), YES)
        promote(three, passed(three, "2", "challenger"), YES)
        return passed(three, "2")

    gated = begin()
    for _ in killed_everywhere(promote_the_open_one, three):
        states.append(mine(three, gated).state)
        promote(three, gated, YES)
        assert (registry.champion(three), registry.with_alias(three, "challenger")) == ("2", None)
        assert in_force(three, MARCH) == "2"
        assert (mine(three, gated).state, mine(three, gated).promoted_by) == ("completed", "approver")
        repairs.add(mine(three, gated).repaired)
        gated = begin()
    assert states[:3] == ["asked", "begun", "begun"]
    assert set(states[3:]) == {"completed"}
    assert repairs == {
        None,
        "the process died before the alias moved",
        "the process died after the alias had moved; completed later",
    }
    assert not [entry for entry in entries(three) if entry.state == "begun" or entry.kind == "by hand"]


def mine(settings: Settings, gated: Gated) -> role_history.Entry:
    return next(entry for entry in entries(settings) if entry.promotion_id == gated.promotion_id)


def test_two_promotions_at_once_take_turns(three: Settings) -> None:
    """The second finds a champion other than the one its version was compared with."""
    outcomes: list[object] = []

    def attempt(gated: Gated) -> None:
        try:
            outcomes.append(promote(three, gated, YES).version)
        except ModelError as error:
            outcomes.append(error)

    both = [passed(three, "2"), passed(three, "3")]
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND NOT granted")
    with role_history.turn(three), warehouse.transaction(three) as observer:
        threads = [threading.Thread(target=attempt, args=(gated,)) for gated in both]
        for thread in threads:
            thread.start()
        while observer.execute(waiting, {"lock": role_history.LOCK}).scalar() != len(both):
            assert all(thread.is_alive() for thread in threads)
        assert outcomes == []
        assert registry.champion(three) == "1"
    for thread in threads:
        thread.join(60)
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, str)]
    (loser,) = [outcome for outcome in outcomes if isinstance(outcome, ModelError)]
    assert registry.champion(three) == winner
    assert f"The champion is version {winner} now" in loser.found


def test_a_move_by_hand_in_mlflow_is_entered_and_said(three: Settings, caplog: pytest.LogCaptureFixture) -> None:
    before = len(entries(three))
    role_history.repair(three)
    assert len(entries(three)) == before
    client = mlflow_client(three)
    client.set_registered_model_alias("satisfaction", "champion", "3")
    client.set_registered_model_alias("satisfaction", "challenger", "2")
    role_history.repair(three)
    *_, champion, challenger = entries(three)
    assert (champion.kind, champion.role, champion.from_version, champion.to_version) == (
        "by hand",
        "champion",
        "1",
        "3",
    )
    assert champion.repaired == "the alias 'champion' was found on version 3 instead of 1"
    assert champion.promoted_by == "unknown, in MLflow"
    assert (challenger.role, challenger.from_version, challenger.to_version) == ("challenger", None, "2")
    assert "The history of promotions was repaired: the alias 'champion'" in caplog.text
    client.delete_registered_model_alias("satisfaction", "champion")
    role_history.repair(three)
    assert (entries(three)[-1].from_version, entries(three)[-1].to_version) == ("3", None)
    assert in_force(three, MARCH) == "1"
    role_history.repair(three)
    assert len(entries(three)) == before + 3


def test_the_weekly_run_repairs_the_history_before_it_chooses(three: Settings) -> None:
    from pipeline.weekly.plan import plan

    mlflow_client(three).set_registered_model_alias("satisfaction", "champion", "3")
    planned = plan(three, week=MARCH, model="current", rebuild=False, airflow_run_id="manual__1")
    assert planned.model_version == "3"
    assert entries(three)[-1].kind == "by hand"
