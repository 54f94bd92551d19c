"""Files are complete or absent, also after a crash."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.files import sha256_of_file, sha256_of_text, write_text, written_atomically


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    write_text(path, "old")

    def fail() -> None:
        with written_atomically(path) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    write_text(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from pipeline.files import written_atomically\n"
        "with written_atomically(Path(sys.argv[1])) as t:\n"
        "    t.write_text('new'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_digests_of_a_file_and_of_its_text_agree(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "füße")
    assert sha256_of_file(tmp_path / "x") == sha256_of_text("füße")
