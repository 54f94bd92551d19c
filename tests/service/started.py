"""`barometer serve` as a process of its own, for tests of starting and stopping."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pipeline.settings import Settings
from tests.end_to_end.airflow import free_ports

COMMAND = (str(Path(sys.executable).with_name("barometer")), "serve")
ENDS_SECONDS = 30
"""SageMaker kills a container that has not ended this long after SIGTERM."""


@dataclass(frozen=True)
class Started:
    """The process, once it listens."""

    process: subprocess.Popen[str]
    line: str
    """What it said when it listened."""
    port: int
    errors: IO[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """What it wrote to standard error until now."""
        self.errors.seek(0)
        return self.errors.read()


def environ_of(settings: Settings, **variables: object) -> dict[str, str]:
    """The environment of a service of these settings; variables are keys of `[service]`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BAROMETER")}
    environ |= {"BAROMETER_CONFIG": str(settings.config_file), "BAROMETER_HOME": str(settings.home)}
    if settings.database.url is not None:
        environ |= {"BAROMETER__DATABASE__URL": settings.database.url}
        environ |= {"BAROMETER__DATABASE__PREFIX": settings.database.prefix}
    for table, keys in (("ROUTING", settings.routing.model_dump()), ("SERVICE", variables)):
        environ |= {f"BAROMETER__{table}__{key.upper()}": str(value) for key, value in keys.items()}
    return environ


@contextmanager
def started(settings: Settings, command: Sequence[str] = COMMAND, **variables: object) -> Iterator[Started]:
    """Run the service of these settings on a free port while the block lasts; variables as in `environ_of`."""
    (port,) = free_ports(1)
    environ = environ_of(settings, port=port, **variables)
    # Its log goes to a file: a pipe would fill, and block it.
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            service = Started(process, process.stdout.readline().strip(), port, errors)
            assert service.line.startswith("Listening on "), service.log()
            yield service
        finally:
            process.kill()
            process.communicate()
