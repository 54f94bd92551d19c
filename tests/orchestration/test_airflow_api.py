"""What the client of Airflow's API makes of a server that does not answer as Airflow does."""

import socket
import threading
from contextlib import closing

import pytest

from pipeline.errors import ServerError
from pipeline.orchestration.airflow_api import AirflowApi
from pipeline.settings import Settings
from tests.local.services.test_components import answer_once


def test_another_program_has_airflows_port(settings: Settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_once, args=(listener, b"hello"), daemon=True).start()
        services = settings.services.model_copy(update={"airflow_port": listener.getsockname()[1]})
        api = AirflowApi(settings.model_copy(update={"services": services}))
        with closing(api), pytest.raises(ServerError) as error:
            api.knows("weekly_predictions")
    assert "answered POST /auth/token with something that is not JSON" in error.value.found
