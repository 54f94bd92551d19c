"""The measured cost of a piece of work."""

from pathlib import Path

import pytest

from pipeline.orchestration import resource_use


def test_the_peak_is_of_the_block_alone_where_it_can_be_reset():
    assert b"x" * 200_000_000
    with resource_use.measured() as use:
        pass
    with resource_use.measured() as larger:
        assert b"x" * 200_000_000
    assert larger.peak_mib > use.peak_mib + 100


def test_the_peak_is_of_the_whole_process_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource_use, "CLEAR_REFS", tmp_path / "no/proc")
    assert b"x" * 200_000_000
    with resource_use.measured() as use:
        pass
    assert use.peak_mib > 200
