"""CSV: every line is a row or a reject, with its line number, or the file is refused."""

from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.sources import delimited
from tests.feeds import bad, feed_settings, good, read


def test_lines_are_where_an_editor_shows_them(tmp_path: Path) -> None:
    content = 'id,amount\na,1\n\nb,x\n"c\n2",3\nd\ne,5,6\nf,7'
    settings = feed_settings(tmp_path, content)
    assert good(settings) == [(2, "a", 1.0), (5, "c\n2", 3.0), (9, "f", 7.0)]
    assert bad(settings) == [
        (4, "amount: 'x' is not a number", "b,x"),
        (7, "has 1 values, not 2", "d"),
        (8, "has 3 values, not 2", "e,5,6"),
    ]


def test_lines_are_right_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "RECORD_BYTES", 64)
    records = [f"{n},{n}" if n % 3 else f'"{n}\nx",{n}' if n % 2 else f"{n}" for n in range(1, 200)]
    settings = feed_settings(tmp_path, "id,amount\n" + "\n".join(records) + "\n")
    line, expected_good, expected_bad = 2, [], []
    for n, record in enumerate(records, start=1):
        if n % 3 or n % 2:
            expected_good.append((line, f"{n}" if n % 3 else f"{n}\nx", float(n)))
        else:
            expected_bad.append((line, "has 1 values, not 2", record))
        line += 1 + record.count("\n")
    assert good(settings) == expected_good
    assert bad(settings) == expected_bad


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(tmp_path: Path, end: str) -> None:
    settings = feed_settings(tmp_path, end.join(["id,amount", "a,1", "b", "c,3", ""]))
    assert good(settings) == [(2, "a", 1.0), (4, "c", 3.0)]
    assert bad(settings) == [(3, "has 1 values, not 2", "b")]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "\ufeffamount,more,id,more\n1,x,a,y\n")
    assert good(settings) == [(2, "a", 1.0)]
    assert read(settings).undeclared_columns == ["more"]


def test_a_reject_with_a_thousand_columns_is_whole(tmp_path: Path) -> None:
    line = "a,much" + ",y" * 998
    settings = feed_settings(tmp_path, "id,amount" + ",x" * 998 + f"\n{line}\na,1{',' * 998}\n")
    assert bad(settings) == [(2, "amount: 'much' is not a number", line)]
    assert len(good(settings)) == 1


def test_a_reject_is_whole(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, 'id,more,amount\n"a ""b"", c",,"1,5"\n')
    assert bad(settings) == [(2, "amount: '1,5' is not a number", '"a ""b"", c",,"1,5"')]


def test_text_is_kept_as_it_is(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id,amount\n 007 ,1\n", columns={"id": "text"})
    assert good(settings) == [(2, " 007 ")]


def test_nulls_are_what_the_source_says(tmp_path: Path) -> None:
    content = "id,amount\nNA,-\n,1\n"
    settings = feed_settings(tmp_path, content, declared='null_values = ["NA", "-"]')
    assert good(settings) == [(2, None, None), (3, "", 1.0)]


def test_another_delimiter(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id;amount\na,b;1\nc;x;\n", declared='delimiter = ";"')
    assert good(settings) == [(2, "a,b", 1.0)]
    assert bad(settings) == [(3, "has 3 values, not 2", "c;x;")]


def test_bytes_that_are_no_text_reject_their_line_only(tmp_path: Path) -> None:
    content = b"id,amount\nM\xfcller,1\nok,2\n\xe2\x82\nnul\0,3\nM\xc3\xbcller,4\n"
    settings = feed_settings(tmp_path, content)
    assert good(settings) == [(3, "ok", 2.0), (6, "Müller", 4.0)]
    assert bad(settings) == [
        (2, r"id: 'M\xfcller' is not text in UTF-8", r"M\xfcller,1"),
        (4, "has 1 values, not 2", r"\xe2\x82"),
        (5, r"id: 'nul\x00' is not text in UTF-8", r"nul\x00,3"),
    ]


def test_lines_without_text_are_neither_rows_nor_rejects(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id,amount\n\n,\na,1\n\n\n")
    assert good(settings) == [(4, "a", 1.0)]
    assert bad(settings) == []


@pytest.mark.parametrize("content", ["id,amount\n", "id,amount"])
def test_a_header_alone_says_that_nothing_happened(tmp_path: Path, content: str) -> None:
    assert good(feed_settings(tmp_path, content)) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "feed.csv is empty"),
        ("\n\n", "feed.csv is empty"),
        ("id,sum\na,1\n", "has no column 'amount'; its header is 'id,sum'"),
        ("id;amount\na;1\n", "has no column 'id'; its header is 'id;amount'"),
        ("id,amount,id\n", "has the column 'id' twice"),
        ('id,amount\na,1\nb,"2\nc,3\n', "a quote in the record that starts on line 3 is never closed"),
        ('id,amount\n"b', "a quote in the record that starts on line 2 is never closed"),
        ('id,amount\na,1\nb,2,"\nc,3\n', "a quote in the record that starts on line 3 is never closed"),
        ("id,amount\n" + "x" * 9_000_000 + ",1\n", "a record is longer than 4 MiB"),
        ('id,amount\na,"' + "x,1\n" * 3_000_000, "a record is longer than 4 MiB, or a quote is never closed"),
        ("x" * 9_000_000, "has no column 'id'"),
        ("id,amount" + ",x" * 999 + "\n", "has 1001 columns"),
        ("id,amount\na,1\n".encode("utf-16"), "looks like UTF-16 text"),
        ("id,amount\na,1\n".encode("utf-16-le"), "looks like UTF-16 text without a byte-order mark"),
        (b"PK\x03\x04rest", "looks like a ZIP archive or an Excel workbook"),
        (b"\x1f\x8brest", "looks like gzip data"),
        (b"PAR1rest", "looks like a Parquet file"),
    ],
)
def test_refusals_name_source_file_and_place(tmp_path: Path, content: bytes | str, found: str) -> None:
    settings = feed_settings(tmp_path, content)
    with pytest.raises(SourceError) as caught:
        read(settings)
    assert caught.value.found.startswith(f"Source feed: {tmp_path}/landing/feed.csv")
    assert found in caught.value.found
    assert not list((settings.home / "ingested").rglob("*.parquet"))


@pytest.mark.parametrize(
    "content",
    [
        'id,amount\na,1\n"b,2\n"c",3\nd,4\n',  # the quote before b swallows the line of c
        'id,amount\na,1\n"b,2\nx,9\n"c,3\nd,4\n',  # two stray quotes swallow the line between them
    ],
)
def test_lines_swallowed_by_a_stray_quote_are_all_rejects(tmp_path: Path, content: str) -> None:
    settings = feed_settings(tmp_path, content)
    lines = content.splitlines()
    assert good(settings) == [(2, "a", 1.0), (len(lines), "d", 4.0)]
    assert bad(settings) == [(n, "has a stray quote", lines[n - 1]) for n in range(3, len(lines))]


def test_a_malformed_record_counts_with_all_its_lines(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, 'id,amount\n"a\nb\n\nc"\nd,4\n')
    assert [(line, raw) for line, _, raw in bad(settings)] == [(2, '"a'), (3, "b"), (5, 'c"')]
    assert good(settings) == [(6, "d", 4.0)]


def test_many_bad_records(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, "id,amount\n" + "x\ny,z\na,1\n" * 50_000)
    source = read(settings)
    assert (source.rows, source.rejects) == (50_000, 100_000)
    assert [line for line, *_ in bad(settings)[-2:]] == [149_999, 150_000]


def test_values_with_lines_and_quotes_are_values(tmp_path: Path) -> None:
    content = 'id,amount\n"she said ""no""\nand left, ""quickly""",1\nb,2\n'
    assert good(feed_settings(tmp_path, content)) == [(2, 'she said "no"\nand left, "quickly"', 1.0), (4, "b", 2.0)]
