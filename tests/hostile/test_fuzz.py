"""Good files with bytes changed at random: every line is a row or a reject, or the file is refused in one sentence."""

import gzip
import json
import re
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError
from tests.feeds import feed_settings, read

FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TYPES = {"id": "text", "day": "timestamp", "amount": "decimal(8,2)", "number": "integer"}
RECORDS = [
    {"id": f"cü{n}", "day": f"2026-03-{1 + n % 28:02d} 10:00:00", "amount": f"{n}.50", "number": n * 10**9}
    for n in range(120)
]
CSV = "".join(",".join(map(str, record)) + "\n" for record in [tuple(TYPES), *(r.values() for r in RECORDS)]).encode()
JSON = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()

Change = Callable[[bytes], bytes]


def parquet() -> bytes:
    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), file, row_group_size=50)
    return file.getvalue()


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Draw a change of a block of the file: its place is a fraction of the file, its length a few bytes or many."""
    place, length = draw(st.floats(0, 1)), draw(st.sampled_from([0, 1, 1, 2, 17, 300, 2000]))
    put = draw(
        st.one_of(st.binary(max_size=4), st.sampled_from([b"", b'"', b"\n", b"\r", b"\0", b'"\n"', b"\xff", b"{"]))
    )
    times = draw(st.sampled_from([0, 0, 1, 2, 3]))

    def changed(content: bytes) -> bytes:
        start = int(place * len(content))
        block = content[start : start + length]
        return content[:start] + put + block * times + content[start + length :]

    return changed


def changed(content: bytes, drawn: list[Change]) -> bytes:
    for change in drawn:
        content = change(content)
    return content


def lines_read(name: str, content: bytes) -> int | None:
    """Return the number of rows and rejects in the file; None if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        feed = feed_settings(Path(folder), content, name=name, columns=TYPES)
        try:
            source = read(feed)
        except SourceError as error:
            assert re.fullmatch(rf"Source feed: {folder}/landing/{re.escape(name)}.*", error.found)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            assert not list((feed.home / "ingested").rglob("*"))[1:]
            return None
        return source.rows + source.rejects


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=4))
@pytest.mark.parametrize("gzipped", [False, True])
def test_csv(gzipped: bool, drawn: list[Change]) -> None:
    content = changed(CSV, drawn)
    lines = lines_read("feed.csv.gz", gzip.compress(content, 1)) if gzipped else lines_read("feed.csv", content)
    records = [line for line in re.split(rb"\r\n|\n|\r", content.removeprefix(b"\xef\xbb\xbf")) if line.strip(b",")]
    if lines is not None and b'"' not in content:
        assert lines == len(records) - 1
    elif lines is not None:
        assert lines < len(records)


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=4))
def test_json_lines(drawn: list[Change]) -> None:
    content = changed(JSON, drawn)
    lines = lines_read("feed.jsonl", content)
    assert lines in {None, sum(1 for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip())}


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=2))
def test_parquet(drawn: list[Change]) -> None:
    content = changed(parquet(), drawn)
    lines = lines_read("feed.parquet", content)
    if lines is not None:
        assert lines == pq.ParquetFile(BytesIO(content)).metadata.num_rows


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=2))
def test_gzip(drawn: list[Change]) -> None:
    """Damage the compressed file. Several whole members may follow one another."""
    content = changed(gzip.compress(JSON, mtime=0), drawn)
    lines = lines_read("feed.jsonl.gz", content)
    if lines is not None:
        assert lines == sum(1 for line in gzip.decompress(content).split(b"\n") if line.strip())
