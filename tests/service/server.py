"""The service as it runs, on a port of its own, in a thread of the test; and a folder with a tiny model for it.

A subprocess (`barometer serve`) is for tests of starting and stopping; here the test can look into the application.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn
from pipeline.models.bundle import BUNDLE_FILE
from pipeline.models.exported_versions import VERSION_FILE, ExportedVersion
from pipeline.service.app import Application
from pipeline.service.model import current
from pipeline.service.process import configured
from pipeline.settings import Settings
from tests.tiny_model import tiny_bundle
from tests.waiting import until

START_SECONDS = 60
STOP_SECONDS = 30
VERSION = "7"


@dataclass(frozen=True)
class Server:
    """A running service."""

    port: int
    application: Application

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """Run the service of these settings on a free port while the block lasts; that of the settings is not looked at."""
    listener = socket.create_server(("127.0.0.1", 0))
    application = Application(settings)
    server = uvicorn.Server(configured(application.front, "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        # What a test asks first is the model it started with.
        patch.setattr(current, "FIRST_LOOK_SECONDS", START_SECONDS)
        application.start()
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), START_SECONDS)
        assert thread.is_alive(), "the server ended while it started"
        yield Server(listener.getsockname()[1], application)
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        application.stop()
        listener.close()
    assert not thread.is_alive(), "the server did not stop"


def export_tiny(folder: Path, columns: list[FeatureColumn] | None = None, threshold: float = 0.5) -> Path:
    """Make a tiny model in `folder`, as `barometer models export` leaves one for a container; return the folder."""
    tiny_bundle(folder, columns)
    return as_exported(folder, threshold)


def as_exported(folder: Path, threshold: float = 0.5) -> Path:
    """Write the file that makes a bundle's folder an exported version; return the folder."""
    digest = sha256_of_file(folder / BUNDLE_FILE)
    made = ExportedVersion(name="satisfaction", version=VERSION, digest=digest, threshold=threshold)
    (folder / VERSION_FILE).write_text(made.model_dump_json())
    return folder
