"""Fixtures: a company in a folder, its settings, and one embedded server for all tests that need a database."""

import atexit
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadFileScheduling

from pipeline.settings import Settings
from tests.browsing import launched
from tests.company import company_settings, own_database, write_company

# DuckDB's bindings print what they call leaks when the interpreter exits; registered first, this runs last.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno()))

# No deadline, because the time of an example depends on how busy the machine is. If CI is set, Hypothesis tries the
# same examples each time, so that a failure is due to the change; everywhere else it looks for new ones.
hypothesis_settings.register_profile(
    "busy", hypothesis_settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("busy")

HOME = "a home=1 [x]"
"""Breaks code that takes a path for a pattern, a partition or a word of a shell."""

for name in [n for n in os.environ if n.startswith(("BAROMETER", "AIRFLOW"))]:
    del os.environ[name]  # a developer's own installation must never be touched


class _InTurn(LoadFileScheduling):
    """Gives each worker whole files, and one worker all of `tests/dags`: a process can set Airflow up only once."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/dags" if nodeid.startswith("tests/dags/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _InTurn:
    return _InTurn(config, log)


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the test company, ten weeks from 2026-01-05; shared, so copy it before changing it."""
    folder = tmp_path_factory.mktemp("company") / "test & co"
    write_company(folder)
    return folder


@pytest.fixture
def settings(company: Path, tmp_path: Path) -> Settings:
    """Settings of the test company with a home of its own, without a database."""
    return company_settings(company, tmp_path / HOME)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one embedded server for the session, as its superuser, without a database's name."""
    from pipeline.local.postgres import embedded

    home = tmp_path_factory.mktemp("server")
    server = embedded.attach(home)
    with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # no test needs its data after a crash
        connection.execute("SELECT pg_reload_conf()")
    yield server.url
    embedded.remove(home)  # run as root, its data is outside pytest's own folder, which its user cannot enter


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser; no longer than a module, because Playwright's loop keeps `asyncio.run` from running."""
    with launched() as started:
        yield started


@pytest.fixture
def warehouse_settings(company: Path, tmp_path: Path, server_url: str) -> Settings:
    """Settings of the test company with a home and three databases of its own."""
    return company_settings(company, tmp_path / HOME, **own_database(server_url))
