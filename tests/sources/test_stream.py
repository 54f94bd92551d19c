"""Gzip: streamed, bounded, and refused when cut short."""

import gzip
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.sources import stream
from tests.feeds import bad, feed_settings, good, read

CONTENT = b"id,amount\na,1\nb,2\nc\n"


def test_gzip_by_the_name(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, gzip.compress(CONTENT), name="feed.csv.gz")
    assert good(settings) == [(2, "a", 1.0), (3, "b", 2.0)]
    assert bad(settings) == [(4, "has 1 values, not 2", "c")]


def test_gzip_of_several_members(tmp_path: Path) -> None:
    content = gzip.compress(CONTENT[:12]) + gzip.compress(CONTENT[12:])
    assert len(good(feed_settings(tmp_path, content, name="feed.csv.gz"))) == 2


@pytest.mark.parametrize("cut", [0, 3, 12, 25, -1])
def test_gzip_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    settings = feed_settings(tmp_path, gzip.compress(CONTENT)[:cut], name="feed.csv.gz")
    with pytest.raises(SourceError, match=r"feed\.csv\.gz cannot be read to its end"):
        read(settings)


def test_gzip_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(CONTENT))
    content[-6] ^= 1  # in the checksum
    with pytest.raises(SourceError, match="cannot be read to its end"):
        read(feed_settings(tmp_path, bytes(content), name="feed.csv.gz"))


def test_plain_text_named_gz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read to its end: Not a gzipped file"):
        read(feed_settings(tmp_path, CONTENT, name="feed.csv.gz"))


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "GZIP_FREE_BYTES", 4 << 20)
    bomb = gzip.compress(b"id,amount\n" + b"a,1\n" * 5_000_000)
    with pytest.raises(SourceError, match="unpacks to more than 4 MiB"):
        read(feed_settings(tmp_path, bomb, name="feed.csv.gz"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        list(stream.blocks("Source feed", tmp_path / "absent.csv", gzipped=False))
