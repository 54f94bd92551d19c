"""Training with promotion through the real DAG: what is trained, what is skipped, who decides.

After the other tests of this folder, which count on the first model being champion.
"""

from typing import Any

import pytest

from pipeline.errors import BarometerError, ModelError, RunError
from pipeline.models import registry, role_history
from pipeline.models.bundle import open_bundle
from pipeline.models.mlflow_client import mlflow_client
from pipeline.orchestration.dag_runs import run_dag
from pipeline.training.handoffs import TRIALS_FILE, Trials
from pipeline.warehouse import transaction
from tests.dags.weeks import AS_OF

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")
TRAINING = ["plan", "collect", "tune", "fit", "evaluate", "register", "report"]
PROMOTION = ["gate", "approve", "promote"]


@pytest.fixture(scope="module")
def train(installation, weekly, output_as_on_a_terminal) -> Any:
    """Run the DAG; return the last task's handoff and the tasks that did something."""

    def run(result_of: str, **params: Any) -> tuple[dict[str, Any], list[str]]:
        done: list[str] = []
        lenient = ("BAROMETER__PROMOTION__CALIBRATION_ERROR", "0.3")  # of a hundred answers
        with pytest.MonkeyPatch.context() as patch, output_as_on_a_terminal():
            patch.setenv(*lenient)
            handoff = run_dag(
                installation, "train_model", params, result_of=result_of,
                watch=lambda event: done.append(event.task) if event.state == "success" else None,
            )  # fmt: skip
        return handoff, done

    return run


def last_entry(installation) -> role_history.Entry:
    with transaction(installation) as connection:
        return role_history.entries(connection)[-1]


@pytest.fixture(scope="module")
def candidate(train) -> str:
    registered, done = train("register", as_of=str(AS_OF))
    assert done == TRAINING
    assert not registered["is_champion"]
    return registered["version"]


def test_each_trial_of_the_search_is_a_run_of_mlflow(installation, candidate):
    client = mlflow_client(installation)
    version = client.get_model_version(installation.model.name, candidate)
    training = client.get_run(version.run_id)
    below = f"tags.`mlflow.parentRunId` = '{version.run_id}'"
    runs = client.search_runs([training.info.experiment_id], below)
    folder, digest = registry.bundle_of(installation, candidate)
    trials = Trials.model_validate_json(open_bundle(folder, digest).read(folder, TRIALS_FILE)).trials
    scores = [run.data.metrics["validation_roc_auc"] for run in runs]
    assert sorted(scores) == sorted(trial.score for trial in trials) != []


def test_a_named_version_is_promoted_without_training(train, installation, candidate):
    promoted, done = train("promote", version=candidate, from_week=str(AS_OF), reason="a test")
    assert done == PROMOTION
    assert (promoted["version"], promoted["from_week"]) == (candidate, str(AS_OF))
    assert registry.champion(installation) == candidate
    entry = last_entry(installation)
    assert (entry.state, entry.reason, entry.from_version) == ("completed", "a test", promoted["from_version"])
    assert entry.airflow_run_id.startswith("manual__")
    assert entry.asked_by == entry.promoted_by != "dag_test"


def test_a_new_version_may_go_on_to_be_promoted(train, installation):
    challenger, done = train("promote", as_of=str(AS_OF), promote=True, role="challenger")
    assert done == TRAINING + PROMOTION
    assert registry.challenger(installation) == challenger["version"]


def test_what_the_gate_refuses_is_not_promoted(train, installation, candidate):
    before = registry.champion(installation)
    with pytest.raises(ModelError, match="can count from the week"):
        train("promote", version="1", from_week=str(AS_OF.plus(-9)))
    assert registry.champion(installation) == before
    assert last_entry(installation).state == "refused"


def test_an_approval_that_nobody_can_give_is_not_waited_for(train, installation, monkeypatch):
    monkeypatch.setenv("BAROMETER__PROMOTION__APPROVAL", "true")
    before = registry.champion(installation)
    with pytest.raises(RunError, match="needs a person's approval") as refused:
        train("promote", version="1")
    assert refused.value.do == "make up, then barometer promote 1."
    assert isinstance(refused.value, BarometerError)
    assert registry.champion(installation) == before
    assert last_entry(installation).state == "asked"
