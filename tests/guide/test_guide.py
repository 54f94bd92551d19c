"""Runs docs/your-own-data.md as it is: writes every file, runs every command, looks for every promised line."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.settings import ROOT

GUIDE = ROOT / "docs/your-own-data.md"
FENCE = re.compile(
    r"^```(?P<kind>\w+)(?: (?P<file>[^\s]+))?(?P<append> \+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block: a file to write (or add to), commands, or lines that the commands before print."""

    kind: str
    file: str | None
    appends: bool
    text: str


def blocks() -> list[Block]:
    found = FENCE.finditer(GUIDE.read_text(encoding="utf-8"))
    return [Block(each["kind"], each["file"], bool(each["append"]), each["text"]) for each in found]


@pytest.fixture
def shell(tmp_path: Path):
    """Run commands in one folder, with the variables that earlier ones exported; nothing is left running."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("BAROMETER", "AIRFLOW"))}
    exported = tmp_path / "exported"
    exported.touch()

    def run(commands: str) -> subprocess.CompletedProcess[str]:
        script = f"set -euo pipefail; source '{exported}'\n{commands}\nexport -p > '{exported}'"
        environ = {**variables, "PATH": path, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    yield run
    run("barometer clean --yes")


@pytest.mark.timeout(900)
def test_every_command_and_file_of_the_guide(shell, tmp_path):
    said = ""
    for block in blocks():
        if block.file:
            path = tmp_path / block.file
            assert path.exists(), f"the guide replaces {block.file}, which `barometer init` did not draft"
            path.write_text((path.read_text() + "\n" if block.appends else "") + block.text)
        elif block.kind == "sh":
            done = shell(block.text)
            said = done.stdout
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        else:
            assert block.kind == "text", "a block is a file, commands, or what these print"
            for line in block.text.splitlines():
                assert line in said, f"the guide promises {line!r}; the command said:\n{said}"


def test_the_guide_holds_what_it_is_for():
    kinds = [block.kind for block in blocks()]
    assert kinds.count("sh") >= 5
    assert {block.file for block in blocks() if block.file} == {
        "northgate/pipeline.toml",
        "northgate/sql/features.sql",
        "northgate/sql/labels.sql",
        "northgate/expectations/features.json",
    }
