"""The command, called in this process on the test company."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

Barometer = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def barometer(company: Path, home: Path) -> Barometer:
    """Call `barometer` with arguments, and with settings as BAROMETER__… values; a traceback fails the test."""

    def call(*arguments: str, **overrides: str) -> Result:
        from pipeline.cli import main

        environ = {"BAROMETER_CONFIG": str(company / "pipeline.toml"), "BAROMETER_HOME": str(home)}
        environ |= {f"BAROMETER__{name}": value for name, value in overrides.items()}
        result = CliRunner(env=environ).invoke(main, arguments, prog_name="barometer")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call
