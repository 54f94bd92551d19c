"""Fixtures of the service's tests: a tiny model's folder, services of it, and a registry with several versions."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import make_url

from pipeline.service.model import current
from pipeline.service.published import lookup
from pipeline.settings import Settings
from pipeline.warehouse import bounded
from tests.company import company_settings, own_database
from tests.service.proxy import Wire
from tests.service.server import Server, export_tiny, running
from tests.service.versions import EXTRA, add_version, standing, with_service
from tests.tiny_model import COMPANY_COLUMNS


@pytest.fixture(scope="session", autouse=True)
def _patient() -> Iterator[None]:
    """Have lookups wait longer for the database than they do in earnest: on a busy machine it may take a while."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bounded, "CONNECT_SECONDS", 20)
        patched.setattr(lookup, "ANSWER_SECONDS", 20)
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported version of a tiny model of the test company; shared, so copy it before changing it."""
    return export_tiny(tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="module")
def serve(
    company: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Starts a service of the tiny model, without registry and warehouse, for the rest of the module.

    Keys of `[service]` are given by name: `serve(contract="vertex", rows=5)`.
    """
    with ExitStack() as stack:

        def start(**service: object) -> Server:
            changes = {f"SERVICE__{key.upper()}": str(value) for key, value in service.items()}
            changes.setdefault("SERVICE__MODEL_FOLDER", str(model_folder))
            return stack.enter_context(running(company_settings(company, tmp_path_factory.mktemp("home"), **changes)))

        yield start


@pytest.fixture(scope="session")
def wire(server_url: str) -> Iterator[Wire]:
    """The connection of `registered` to its registry; a test that cuts it mends it."""
    with Wire(int(make_url(server_url).port or 0)) as wire:
        yield wire


@pytest.fixture(scope="session")
def registered(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str, wire: Wire) -> Settings:
    """A registry with the versions 1 to 4, whose numbers are far apart, and 5, which needs one more feature.

    `tests.service.versions.standing` puts the aliases where a test needs them.
    """
    home = tmp_path_factory.mktemp("registered") / "a home & more"
    url = make_url(server_url).set(port=wire.port).render_as_string(hide_password=False)
    settings = company_settings(company, home, **own_database(url))
    for number, gloom in enumerate((0.9, 0.5, 0.0, 0.7), 1):
        assert add_version(settings, f"gloom {gloom}", gloom) == str(number)
    assert add_version(settings, "another query", 0.2, [*COMPANY_COLUMNS, EXTRA]) == "5"
    return settings


@pytest.fixture
def watched(registered: Settings, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of `registered`: version 1 is champion, nothing was served yet, and it is looked at very often."""
    monkeypatch.setattr(current, "FIRST_LOOK_SECONDS", 60)  # else a slow look is taken for a registry that is away
    wire.mend()
    standing(registered, "1")
    shutil.rmtree(registered.home / "service", ignore_errors=True)
    yield with_service(registered, refresh_seconds=0.02)
    wire.mend()
