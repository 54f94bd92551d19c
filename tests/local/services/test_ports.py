"""A port that is in use, or that two settings name, is refused with the name of its setting."""

import socket

import pytest

from pipeline.errors import ServerError
from pipeline.local.services.lifecycle import check_ports
from pipeline.settings import Settings
from tests.end_to_end.airflow import free_ports

SETTINGS = ("services.airflow_port", "services.mlflow_port", "service.port")


def with_ports(settings: Settings, airflow: int, mlflow: int, service: int) -> Settings:
    services = settings.services.model_copy(update={"airflow_port": airflow, "mlflow_port": mlflow})
    return settings.model_copy(
        update={"services": services, "service": settings.service.model_copy(update={"port": service})}
    )


@pytest.mark.parametrize(("position", "name"), list(enumerate(SETTINGS)))
def test_a_taken_port_is_refused_by_its_setting_s_name(settings: Settings, position: int, name: str):
    ports = free_ports(3)
    check_ports(with_ports(settings, *ports))
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", ports[position]))
        stranger.listen()
        with pytest.raises(ServerError) as refused:
            check_ports(with_ports(settings, *ports))
    assert str(ports[position]) in refused.value.found
    assert name in refused.value.expected
    assert f"BAROMETER__{name.upper().replace('.', '__')}=" in refused.value.do


def test_a_port_given_twice_is_refused(settings: Settings):
    airflow, mlflow = free_ports(2)
    with pytest.raises(ServerError) as refused:
        check_ports(with_ports(settings, airflow, mlflow, airflow))
    assert "services.airflow_port" in refused.value.found
    assert "BAROMETER__SERVICE__PORT=" in refused.value.do
