"""The commands of `docs/applications.md`, and a shell that runs them as they are written."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.settings import ROOT
from tests.end_to_end.airflow import free_ports

PAGE = (ROOT / "docs" / "applications.md").read_text()
ASK, SCORE_FILES, KEYS = [block.partition("```")[0] for block in PAGE.split("```sh\n")[1:]]
CURL = "silent\nshow-error\nfail-with-body\nretry = 30\nretry-connrefused\nretry-delay = 1\nwrite-out = \\n\n"
"""A refusal ends the script; a service that is still starting is waited for."""


def in_a_shell(lines: str, environ: Mapping[str, str], port: int, folder: Path) -> tuple[list[str], str]:
    """Run lines as a person would, on other ports; end what they left running; return what they printed."""
    (second_port,) = free_ports(1)
    for written, tried in {"8000": port, "8001": second_port}.items():
        lines = lines.replace(f"127.0.0.1:{written}", f"127.0.0.1:{tried}").replace(f"PORT={written}", f"PORT={tried}")
    (folder / ".curlrc").write_text(CURL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "said").open("w+") as said, (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-c", lines.replace("0.0.0.0", "127.0.0.1")],
            env={**os.environ, **environ, "PATH": path, "CURL_HOME": str(folder)},
            cwd=folder, stdout=said, stderr=errors, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(240)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        said.seek(0)
        errors.seek(0)
        assert code == 0, errors.read()
        lines_said = [line for line in said.read().splitlines() if line and not line.startswith("Listening on ")]
        return lines_said, errors.read()
