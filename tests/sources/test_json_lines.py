"""JSON Lines: broken lines, nesting and changing types are rejects, not NULLs."""

from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.sources import json_lines
from tests.feeds import bad, feed_settings, good, read


def test_broken_lines_are_rejects(tmp_path: Path) -> None:
    content = '{"id": "a", "amount": 1}\n{"id": "b", "am\n\n[1]\n7\n{"id": null, "x": 1}\n{"amount": "2.5", "id": 7}'
    settings = feed_settings(tmp_path, content, name="feed.jsonl")
    assert good(settings) == [(1, "a", 1.0), (6, None, None), (7, "7", 2.5)]
    assert bad(settings) == [
        (2, "is not a JSON object", '{"id": "b", "am'),
        (4, "is not a JSON object", "[1]"),
        (5, "is not a JSON object", "7"),
    ]


def test_nesting_and_changing_types(tmp_path: Path) -> None:
    content = '{"id": {"x": [1]}, "amount": 1}\n{"id": "b", "amount": {"x": 1}}\n{"id": true, "amount": "many"}\n'
    content += '{"id": [], "amount": "-"}\n{"id": "[x]", "amount": "2.0"}\n{"id": "{", "amount": 3}\n'
    settings = feed_settings(tmp_path, content, name="feed.jsonl")
    assert good(settings) == [(5, "[x]", 2.0), (6, "{", 3.0)]
    assert [reason for _, reason, _ in bad(settings)] == [
        "id: a nested value is not text",
        "amount: '{\"x\":1}' is not a number",
        "amount: 'many' is not a number",
        "id: a nested value is not text; amount: '-' is not a number",
    ]


def test_nesting_without_end_is_a_reject(tmp_path: Path) -> None:
    content = f'{{"id": {"[" * 50_000}{"]" * 50_000}, "amount": 1}}\n{{"id": "b", "amount": 2}}\n'
    settings = feed_settings(tmp_path, content, name="feed.jsonl")
    assert good(settings) == [(2, "b", 2.0)]
    assert [reason for _, reason, _ in bad(settings)] == ["id: a nested value is not text"]


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    content = '{"id": 12345678901234567890123, "amount": 9007199254740993}\n{"id": 1, "amount": 1e400}\n'
    settings = feed_settings(tmp_path, content, name="feed.jsonl", columns={"id": "text", "amount": "integer"})
    assert good(settings) == [(1, "12345678901234567890123", 9007199254740993)]
    assert bad(settings)[0][1] == "amount: '1e400' is not an integer"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    content = b'{"id": "M\xfc", "amount": 1}\n{"id": "\\u0000", "amount": 1}\n{"id": "\\ud800", "amount": 1}\n'
    settings = feed_settings(tmp_path, content, name="feed.jsonl")
    assert bad(settings) == [
        (1, "is not text in UTF-8", '{"id": "M\\xfc", "amount": 1}'),
        (2, "id: '\\x00' is not text in UTF-8", '{"id": "\\u0000", "amount": 1}'),
        (3, "is not a JSON object", '{"id": "\\ud800", "amount": 1}'),
    ]


def test_lines_are_right_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 50)
    monkeypatch.setattr("pipeline.sources.stream.BLOCK_BYTES", 7)
    lines = [f'{{"id": "é{n}", "amount": {n}}}' if n % 5 else "" for n in range(1, 60)]
    settings = feed_settings(tmp_path, "\r\n".join(lines), name="feed.jsonl")
    assert good(settings) == [(n, f"é{n}", float(n)) for n in range(1, 60) if n % 5]


def test_odd_names(tmp_path: Path) -> None:
    columns = {"a/b~c": "text", "ü d": "integer"}
    content = '{"a/b~c": "x", "\\u00fc d": 1, "more": 2}\n'
    settings = feed_settings(tmp_path, content, name="feed.jsonl", columns=columns)
    assert good(settings) == [(1, "x", 1)]
    assert read(settings).undeclared_columns == ["more"]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert good(feed_settings(tmp_path, b"", name="feed.jsonl")) == []


def test_a_column_in_no_record_is_refused(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, '{"id": "a", "sum": 1}\n' * 3, name="feed.jsonl")
    with pytest.raises(SourceError, match="no record has 'amount'"):
        read(settings)


def test_a_line_too_long_is_refused(tmp_path: Path) -> None:
    content = '{"id": "a", "amount": 1}\n{"id": "' + "x" * 9_000_000
    with pytest.raises(SourceError, match="line 2 is longer than 4 MiB"):
        read(feed_settings(tmp_path, content, name="feed.jsonl"))
