"""Commands or services can run DAGs of a home, never both."""

import os
import subprocess
import sys

import pytest

from pipeline.errors import ServerError
from pipeline.local.services.lifecycle import up
from pipeline.orchestration import service_lock
from pipeline.orchestration.dag_runs import run_dag


def test_commands_share_and_keep_services_out(settings):
    with service_lock.running_in_process(settings) as first, service_lock.running_in_process(settings) as second:
        assert (first, second) == (True, True)
        assert service_lock.take_for_services(settings) is None
    assert not service_lock.services_are_up(settings)


def test_services_keep_commands_out_as_long_as_one_process_of_theirs_lives(settings):
    lock = service_lock.take_for_services(settings)
    program = "import time; print('ready', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, pass_fds=[lock], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        os.close(lock)  # as when the supervisor is killed
        assert service_lock.services_are_up(settings)
        child.kill()
    assert not service_lock.services_are_up(settings)


def test_up_is_refused_while_a_command_runs_a_dag(settings, monkeypatch):
    with service_lock.running_in_process(settings), pytest.raises(ServerError) as refused:
        up(settings)
    assert "runs a DAG" in refused.value.found


def test_a_command_whose_services_do_not_answer_says_so(settings):
    lock = service_lock.take_for_services(settings)
    closed = settings.model_copy(update={"services": settings.services.model_copy(update={"airflow_port": 1})})
    with pytest.raises(ServerError) as refused:
        run_dag(closed, "weekly_predictions", {}, result_of="publish", watch=lambda _: None)
    os.close(lock)
    assert "gives no answer" in refused.value.found
