"""Which version a run uses, by MLflow's real tables, and what registering a bundle writes to them."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline import warehouse
from pipeline.errors import ModelError
from pipeline.models.bundle import BUNDLE_FILE, open_bundle
from pipeline.models.registry import champion, choose_model
from pipeline.models.role_history import LOCK
from pipeline.models.routing import CHAMPION
from pipeline.promotion.overview import files_of
from pipeline.settings import Settings
from pipeline.training.handoffs import Registered
from pipeline.training.register import register
from pipeline.weeks import Week
from tests.company import company_settings, own_database
from tests.tiny_model import evaluated_as_of, tiny_bundle

FEBRUARY, MARCH = Week.parse("2026-02-02"), Week.parse("2026-03-02")
NOW = datetime(2026, 4, 1, tzinfo=UTC)
LAST_COMPLETE = Week.parse("2026-03-23")


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    tiny_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def shared(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    home = tmp_path_factory.mktemp("registry") / "a home & more"
    return company_settings(company, home, **own_database(server_url))


def promotions(settings: Settings) -> list[tuple]:
    with warehouse.transaction(settings) as connection:
        rows = connection.execute(
            text(
                "SELECT from_week, to_version, reason FROM model_promotions"
                " WHERE state = 'completed' ORDER BY promotion_id"
            )
        )
        return [(str(row.from_week), row.to_version, row.reason) for row in rows]


@pytest.fixture(scope="module")
def versions(shared: Settings, unsealed: Path) -> list[Registered]:
    """The first one as of March, one as of February before it, a candidate as of March."""
    trainings = ((MARCH, ""), (FEBRUARY, ""), (MARCH, "later"))
    return [register(shared, *evaluated_as_of(shared, unsealed, week, remark)) for week, remark in trainings]


def chosen(settings: Settings, week: str, requested: str = "auto", published: str | None = None) -> tuple[str, bool]:
    choice = choose_model(settings, week=Week.parse(week), requested=requested, published_version=published, now=NOW)
    return choice.model_version, choice.trained_after_cutoff


def test_without_any_version_the_way_out_is_named(warehouse_settings: Settings) -> None:
    assert champion(warehouse_settings) is None
    for requested in ("auto", "current"):
        with pytest.raises(ModelError, match="train the first one: barometer train"):
            chosen(warehouse_settings, str(LAST_COMPLETE), requested)
    with pytest.raises(ModelError, match="has no version '1'"):
        chosen(warehouse_settings, str(LAST_COMPLETE), "1")
    with pytest.raises(ModelError, match=r"barometer train --as-of 2026-03-02; or .*model=current"):
        chosen(warehouse_settings, str(MARCH))


def test_the_first_version_is_champion_from_its_training_cutoff_on(shared, versions) -> None:
    first, earlier, candidate = versions
    assert (first.version, first.is_champion, first.from_week) == ("1", True, str(MARCH))
    assert (earlier.version, earlier.is_champion, earlier.from_week) == ("2", False, str(FEBRUARY))
    assert (candidate.version, candidate.is_champion, candidate.from_week) == ("3", False, None)
    assert champion(shared) == "1"
    assert promotions(shared) == [
        ("2026-03-02", "1", "first champion"),
        ("2026-02-02", "2", "trained as of 2026-02-02; none was in force"),
    ]


def test_auto_takes_the_champion_for_the_last_complete_week(shared, versions) -> None:
    choice = choose_model(shared, week=LAST_COMPLETE, requested="auto", published_version=None, now=NOW)
    assert (choice.model_version, choice.model_reason) == ("1", "the champion")
    assert open_bundle(choice.bundle, choice.bundle_digest).read(choice.bundle, "scorer.npz")
    assert choice.bundle.is_relative_to(shared.home / "mlflow")


def test_auto_takes_the_version_in_force_for_an_earlier_week(shared, versions) -> None:
    assert chosen(shared, "2026-03-16") == ("1", False)
    assert chosen(shared, str(MARCH)) == ("1", False)
    assert chosen(shared, "2026-02-23") == ("2", False)
    assert chosen(shared, str(FEBRUARY)) == ("2", False)
    with pytest.raises(ModelError, match="No model version was in force in the week 2026-01-26"):
        chosen(shared, "2026-01-26")


def test_auto_takes_a_published_weeks_own_version(shared, versions) -> None:
    assert chosen(shared, "2026-02-23", published="3") == ("3", True)
    assert chosen(shared, str(LAST_COMPLETE), published="2") == ("2", False)


def test_current_or_a_number_overrides_and_says_when_the_model_knows_what_came_later(shared, versions) -> None:
    assert chosen(shared, "2026-02-23", "current") == ("1", True)
    assert chosen(shared, "2026-02-23", "current", published="2") == ("1", True)
    assert chosen(shared, "2026-01-26", "2") == ("2", True)
    assert chosen(shared, str(LAST_COMPLETE), "3") == ("3", False)


@pytest.mark.parametrize("requested", ["99", "newest", "1'; --", ""])
def test_an_unknown_version_is_refused(shared, versions, requested) -> None:
    with pytest.raises(ModelError, match="has no version"):
        chosen(shared, str(MARCH), requested)


def test_registering_a_bundle_again_changes_nothing(shared, versions, unsealed) -> None:
    before = promotions(shared)
    assert register(shared, *evaluated_as_of(shared, unsealed, MARCH)) == versions[0]
    assert register(shared, *evaluated_as_of(shared, unsealed, MARCH, "later")) == versions[2]
    assert promotions(shared) == before


def test_people_find_the_version_in_mlflow_and_can_load_it_from_there(shared, versions) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("satisfaction", CHAMPION)
    run = client.get_run(version.run_id)
    assert run.data.metrics == {"roc_auc": 0.7}
    assert run.info.status == "FINISHED"
    assert {"training_cutoff", "max_iter", "training_set_digest"} <= run.data.params.keys()
    loaded = mlflow.pyfunc.load_model(f"models:/satisfaction@{CHAMPION}")
    assert loaded.metadata.signature.inputs.input_names() == ["events", "amount", "is_busy", "kind"]
    assert loaded.predict(loaded.input_example).shape == (5, 2)


def test_a_version_moved_by_hand_in_mlflow_is_the_champion(shared, versions) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    client.set_registered_model_alias("satisfaction", CHAMPION, "3")
    try:
        assert chosen(shared, str(LAST_COMPLETE)) == ("3", False)
        assert chosen(shared, "2026-03-16") == ("1", False)
    finally:
        client.set_registered_model_alias("satisfaction", CHAMPION, "1")


def test_a_version_that_was_deleted_or_registered_by_others_is_refused(shared, versions, unsealed) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    foreign = client.create_model_version("satisfaction", source=unsealed.as_uri())
    with pytest.raises(ModelError, match="was not registered by Barometer"):
        chosen(shared, str(MARCH), str(foreign.version))
    files = files_of(shared, str(foreign.version))
    assert not files.intact
    assert "was not registered by Barometer" in files.words
    doomed = register(shared, *evaluated_as_of(shared, unsealed, MARCH, "doomed"))
    client.delete_model_version("satisfaction", doomed.version)
    with pytest.raises(ModelError, match="has no version"):
        chosen(shared, str(MARCH), doomed.version)


def test_a_version_whose_bundle_was_changed_is_refused(shared, versions, unsealed) -> None:
    made = register(shared, *evaluated_as_of(shared, unsealed, MARCH, "tampered"))
    choice = choose_model(shared, week=MARCH, requested=made.version, published_version=None, now=NOW)
    path = choice.bundle / BUNDLE_FILE
    path.write_text(path.read_text().replace('"roc_auc": 0.7', '"roc_auc": 0.9'))
    with pytest.raises(ModelError, match="is not the registered one"):
        chosen(shared, str(MARCH), made.version)


def test_a_bundle_changed_since_it_was_sealed_is_not_registered(shared, versions, unsealed) -> None:
    plan, evaluated = evaluated_as_of(shared, unsealed, MARCH, "altered")
    (evaluated.bundle / "model.skops").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.skops is not the registered one"):
        register(shared, plan, evaluated)


@pytest.mark.parametrize(
    "call", ["finalize_logged_model", "create_model_version", "set_registered_model_alias", "commit"]
)
def test_a_registration_that_died_anywhere_is_completed_by_a_retry(
    warehouse_settings, unsealed, monkeypatch, call
) -> None:
    import mlflow
    from sqlalchemy import Connection

    class DiedError(BaseException):
        pass

    def die_after(original):
        def called(self, *arguments, **keywords):
            original(self, *arguments, **keywords)
            raise DiedError

        return called

    def die_at_the_entry(self, statement, *arguments, execute=Connection.execute, **keywords):
        if "INSERT INTO model_promotions" in getattr(statement, "text", ""):
            raise DiedError
        return execute(self, statement, *arguments, **keywords)

    training = evaluated_as_of(warehouse_settings, unsealed, MARCH)
    with monkeypatch.context() as patch:
        if call == "commit":
            patch.setattr(Connection, "execute", die_at_the_entry)
        else:
            patch.setattr(mlflow.MlflowClient, call, die_after(getattr(mlflow.MlflowClient, call)))
        with pytest.raises(DiedError):
            register(warehouse_settings, *training)
    registered = register(warehouse_settings, *training)
    assert (registered.version, registered.is_champion, registered.from_week) == ("1", True, str(MARCH))
    assert promotions(warehouse_settings) == [(str(MARCH), "1", "first champion")]
    assert len(mlflow.MlflowClient().search_model_versions("name = 'satisfaction'")) == 1


def test_two_registrations_take_turns(warehouse_settings: Settings, unsealed: Path) -> None:
    training = evaluated_as_of(warehouse_settings, unsealed, MARCH)
    with warehouse.transaction(warehouse_settings) as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        other = threading.Thread(target=register, args=(warehouse_settings, *training))
        other.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND NOT granted")
        while other.is_alive() and not holder.execute(waiting, {"lock": LOCK}).scalar():
            pass
        assert other.is_alive()
        assert champion(warehouse_settings) is None
    other.join(timeout=60)
    assert champion(warehouse_settings) == "1"


def test_nothing_is_reported_to_mlflows_makers() -> None:
    """In a process without the signs of a test or CI, in which MLflow sends no telemetry anyway."""
    program = "import pipeline.training; from mlflow.telemetry import utils; print(utils.is_telemetry_disabled())"
    environment = {"PATH": os.environ["PATH"]}
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)
    assert ran.stdout == "True\n"
