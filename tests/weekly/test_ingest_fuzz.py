"""Whatever bytes arrive: lines = rows + rejects, or one clear refusal."""

import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError
from tests.feeds import feed_settings, read

FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
PIECES = [
    "a",
    "1",
    ",",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "é",
    " ",
    "\x00",
    "\ufdd0",
    "\u2028",
    "2026-03-29 02:30:00",
    "nan",
    "-",
    ";",
]
JSON_PIECES = [
    '{"id": "a", "amount": 1}',
    '{"id":',
    '"amount"',
    ":",
    "1e999",
    "[",
    "]",
    "{",
    "}",
    '"',
    "\\",
    "\n",
    "null",
    "NaN",
]
COLUMNS = {"id": "text", "amount": "decimal(8,2)", "day": "timestamp"}


def check(name: str, content: bytes, columns: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = read(feed_settings(Path(folder), content, name=name, columns=columns))
        except SourceError as error:
            assert "feed" in error.found  # noqa: PT017 (either way of ending is right)
        else:
            lines = [line for line in re.split(rb"\r\n|\n|\r", content) if line not in (b"", b",,")]
            assert source.rows + source.rejects <= len(lines)
            if b'"' not in content and name == "feed.csv":
                assert source.rows + source.rejects == len(lines) - 1  # the header


@FUZZ
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
@example('a,"\n",b\n')
@example('"a"\n",\n"')
def test_csv(content: str) -> None:
    check("feed.csv", b"id,amount,day\n" + content.encode(), COLUMNS)


@FUZZ
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"\xef\xbb\xbf")
def test_bytes_as_csv(content: bytes) -> None:
    check("feed.csv", content, COLUMNS)
    check("feed.csv", b"id,amount,day\n" + content, COLUMNS)


@FUZZ
@given(st.lists(st.sampled_from(JSON_PIECES), max_size=40).map("".join))
def test_json_lines(content: str) -> None:
    check("feed.jsonl", content.encode(), {"id": "text", "amount": "integer"})


@FUZZ
@given(st.binary(max_size=200))
def test_bytes_as_anything(content: bytes) -> None:
    for name in ("feed.jsonl", "feed.parquet", "feed.csv.gz", "feed.parquet.gz"):
        check(name, content, {"id": "text", "amount": "integer"})
