"""Where the service listens: an address that is not available is an error in three parts, before anything is loaded."""

import socket
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.settings import Settings
from tests.company import company_settings
from tests.service.started import COMMAND, environ_of, started

NOT_OURS = "192.0.2.1"
"""Of a net that is for documentation only."""


def refused(settings: Settings, folder: Path, **variables: object) -> str:
    """What `barometer serve` says on standard error when it cannot serve."""
    environ = environ_of(settings, model_folder=folder, auth="platform", **variables)
    done = subprocess.run(COMMAND, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return " ".join(done.stderr.split())


def test_a_port_that_is_taken_is_told(settings: Settings, model_folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(settings, model_folder, port=port)
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in said
    assert "BAROMETER__SERVICE__PORT" in said
    assert "Traceback" not in said
    assert "Serving" not in said, "it is told before the model is loaded"


@pytest.mark.parametrize("host", [NOT_OURS, "nowhere.invalid"])
def test_an_address_that_is_not_this_machines_is_told(settings: Settings, model_folder: Path, host: str):
    said = refused(settings, model_folder, host=host, port=18_000)
    assert f"of {host}: " in said
    assert "service.host" in said
    assert "Traceback" not in said


def test_localhost_is_listened_on_by_all_its_addresses(settings: Settings, model_folder: Path):
    with started(settings, model_folder=model_folder, host="localhost") as service:
        for *_, address in socket.getaddrinfo("localhost", service.port, type=socket.SOCK_STREAM):
            socket.create_connection(address[:2]).close()


@pytest.mark.parametrize("port", [0, -1, 65_536, 70_000])
def test_a_port_that_there_is_not_is_refused(company: Path, tmp_path: Path, port: int):
    with pytest.raises(ConfigError, match=r"service\.port"):
        company_settings(company, tmp_path, SERVICE__PORT=str(port))
