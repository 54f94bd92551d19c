"""A port that somebody else uses is refused with the name of its setting."""

import socket

import pytest

from pipeline.errors import ServerError
from pipeline.settings import Settings
from pipeline.up.ports import check_ports


def test_a_taken_port_is_refused_by_its_setting_s_name(settings: Settings):
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        taken = settings.model_copy(
            update={"services": settings.services.model_copy(update={"mlflow_port": port, "airflow_port": free_port()})}
        )
        with pytest.raises(ServerError) as refused:
            check_ports(taken)
    assert str(port) in refused.value.found
    assert "services.mlflow_port" in refused.value.expected
    assert "BAROMETER__SERVICES__MLFLOW_PORT" in refused.value.do


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
