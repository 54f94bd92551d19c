"""One Airflow for all tests of this folder: its home and database are set before its first import."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.orchestration.dag_runs import run_dag
from pipeline.settings import Settings
from pipeline.warehouse import runs
from tests.company import company_settings
from tests.dags.weeks import AS_OF, WEEK

HERE = Path(__file__).parent


@pytest.fixture(scope="package")
def output_as_on_a_terminal(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    """Pytest's capturing switched off for a block: Airflow keeps the stream that was standard output at its import."""
    return request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled


@pytest.fixture(scope="package")
def installation(
    company: Path,
    server_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    output_as_on_a_terminal: Callable[[], AbstractContextManager[None]],
) -> Iterator[Settings]:
    """Settings of the test company with a flaw or two, with Airflow's environment in force and its tables made."""
    from pipeline.orchestration import airflow_environment

    company = shutil.copytree(company, tmp_path_factory.mktemp("flawed") / "test & co")
    with (company / f"landing/events-{WEEK}.csv").open("a") as events:
        events.write(f"c0001,p1,{WEEK} 10:00:00,-99999.50,a\n")  # its subject is quarantined
        events.write(f"c0002,p2,{WEEK} 10:00:00,a lot,a\n")  # a reject
    home = tmp_path_factory.mktemp("installation") / "home"
    overrides = {"DATABASE__URL": server_url, "DATABASE__PREFIX": "dags_of_tests"}
    settings = company_settings(company, home, **overrides)
    dags = tmp_path_factory.mktemp("dags")
    for file in [*airflow_environment.DAGS.glob("*.py"), HERE / "trial.py"]:
        shutil.copy(file, dags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(airflow_environment, "DAGS", dags)
        for name, value in airflow_environment.airflow_environment(settings).items():
            patch.setenv(name, value)
        for name, value in overrides.items():
            patch.setenv(f"BAROMETER__{name}", value)
        with output_as_on_a_terminal():
            from airflow.settings import dispose_orm

            from pipeline.orchestration.airflow_adapter import RETRIES
            from pipeline.orchestration.airflow_in_process import migrate

            migrate()
        patch.setitem(RETRIES, "retry_delay", timedelta(0))
        yield settings
        dispose_orm()  # its connections, before the server goes


@pytest.fixture(scope="package")
def weekly(installation, output_as_on_a_terminal):
    """Run the weekly DAG in this process; the first model is trained before."""

    def run(**params: Any) -> runs.RunRecord:
        given = {"week": str(WEEK), "model": "auto", "rebuild": False, **params}
        with output_as_on_a_terminal():
            published = run_dag(installation, "weekly_predictions", given, result_of="publish", watch=lambda _: None)
        return runs.run(installation, published["run_id"])

    as_of = {"as_of": str(AS_OF)}
    with output_as_on_a_terminal():
        trained = run_dag(installation, "train_model", as_of, result_of="register", watch=lambda _: None)
    assert trained["is_champion"]
    return run
