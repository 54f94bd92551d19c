"""Bytes that are not text, and damage of each format."""

import gzip
from typing import Any

import pyarrow as pa

from tests.hostile.case import Case, Published, Refused, event, visit
from tests.hostile.company import ACCOUNTS, EVENTS, VISITS
from tests.hostile.damage import lines, more, raw, replaced, table


def _as(column: str, values: Any) -> Any:
    """Return a change of a table that puts `values(column)` in a column's place."""
    return lambda old: old.set_column(old.column_names.index(column), column, values(old[column]))


TEXT = [
    Case("a byte-order mark", raw(EVENTS, lambda content: b"\xef\xbb\xbf" + content), Published()),
    Case(
        "UTF-16",
        raw(EVENTS, lambda content: content.decode().encode("utf-16")),
        Refused(f"Source events: …/{EVENTS} looks like UTF-16 text."),
    ),
    Case(
        "a line in Latin-1",
        more(EVENTS, event(kind="M\xfcller").encode("latin-1")),
        Published(1, says=r"kind: 'M\xfcller' is not text in UTF-8"),
    ),
    Case("NUL bytes", more(EVENTS, event(kind="a\0")), Published(1, says=r"kind: 'a\x00' is not text in UTF-8")),
    Case(
        "a line break in a quoted value",
        more(EVENTS, event(customer='"two\nlines"')),
        Published(more={"two\nlines": {}}),
    ),
    Case(
        "an unclosed quote",
        more(EVENTS, event(kind='"a'), event()),
        Refused(f"Source events: …/{EVENTS}: a quote in the record that starts on line … is never closed."),
    ),
    Case(
        "two stray quotes that swallow a line break",
        more(EVENTS, event(customer='"stray'), event(customer='"stray')),
        Published(2, says="has a stray quote"),
    ),
    Case("ragged rows", more(EVENTS, event() + ",more", "less"), Published(2, says="has … values, not 5")),
    Case("line ends of Windows", raw(EVENTS, lambda content: content.replace(b"\n", b"\r\n")), Published()),
    Case(
        "a line of 100 MB in CSV",
        raw(EVENTS, lambda content: content + b"x" * 100_000_000),
        Refused(
            f"Source events: …/{EVENTS}: from line … on it cannot be read as CSV: a record is longer than 4 MiB, …"
        ),
    ),
    Case(
        "a line of 100 MB in JSON Lines",
        raw(VISITS, lambda content: content + gzip.compress(b"x" * 100_000_000, 1)),
        Refused(f"Source visits: …/{VISITS}: line … is longer than 4 MiB."),
    ),
]

GZIP = [
    Case(
        "a gzip file that is cut short",
        raw(VISITS, lambda content: content[:-20]),
        Refused(f"Source visits: …/{VISITS} cannot be read to its end: …"),
    ),
    Case(
        "plain text with a name that ends in .gz",
        raw(VISITS, gzip.decompress),
        Refused(f"Source visits: …/{VISITS} cannot be read to its end: Not a gzipped file (…)."),
    ),
    Case(
        "a gzip bomb",
        replaced(VISITS, lambda: gzip.compress(f'{visit()[:-1]}, "note": "{"x" * 10_000}"}}\n'.encode() * 12_000)),
        Refused(f"Source visits: …/{VISITS} unpacks to more than … MiB."),
    ),
]

PARQUET = [
    Case(
        "Parquet without a column",
        table(ACCOUNTS, lambda old: old.drop_columns(["credit"])),
        Refused(f"Source accounts: …/{ACCOUNTS} has no column 'credit', or has it twice; it has …"),
    ),
    Case(
        "Parquet whose column has another type that fits",
        table(ACCOUNTS, _as("reference", lambda column: column.cast(pa.float64()).cast(pa.string()))),
        Published(),
    ),
    Case(
        "Parquet whose column has another type that does not fit",
        table(ACCOUNTS, _as("opened_at", lambda column: pa.array(range(len(column))))),
        Refused(
            f"Source accounts has … new rejects among … lines, for example {ACCOUNTS} line 1: "
            "opened_at: '0' is not a timestamp; …"
        ),
    ),
    Case(
        "Parquet that is cut in half",
        raw(ACCOUNTS, lambda content: content[: len(content) // 2]),
        Refused(f"Source accounts: …/{ACCOUNTS} cannot be read as Parquet: …"),
    ),
    Case(
        "Parquet whose middle is overwritten",
        raw(ACCOUNTS, lambda content: content[:40] + bytes(900) + content[940:]),
        Refused(f"Source accounts: …/{ACCOUNTS} cannot be read as Parquet: …"),
    ),
    Case(
        "Parquet with a nested column that is not declared",
        table(ACCOUNTS, lambda old: old.append_column("more", pa.array([{"a": [1]}] * len(old)))),
        Published(),
    ),
    Case(
        "Parquet whose declared column is nested",
        table(ACCOUNTS, _as("product_id", lambda column: pa.array([{"id": value} for value in column.to_pylist()]))),
        Refused(f"Source accounts: …/{ACCOUNTS} has nested values in the column 'product_id' (struct<id: string>)."),
    ),
]

JSON = [
    Case("a broken line", more(VISITS, visit()[:40]), Published(1, says="is not a JSON object")),
    Case("a line that is not an object", more(VISITS, "[1, 2]"), Published(1, says="is not a JSON object")),
    Case(
        "a nested value",
        more(VISITS, visit('{"id": "c0000"}')),
        Published(1, says="customer_id: a nested value is not text"),
    ),
    Case(
        "a whole number that becomes text, or gets a fraction of zero",
        lines(
            VISITS,
            lambda found: [
                *found[:-2],
                found[-2].replace(b'"pages": 5', b'"pages": "5"'),
                found[-1].replace(b'"pages": 6', b'"pages": 6.0'),
            ],
        ),
        Published(),
    ),
    Case(
        "a value nested fifty thousand deep",
        lines(VISITS, lambda found: [visit("[" * 50_000 + "]" * 50_000).encode(), *found]),
        Published(1, says="customer_id: a nested value is not text"),
    ),
    Case(
        "a number that becomes true",
        more(VISITS, visit(pages="true")),
        Published(1, says="pages: 'true' is not an integer"),
    ),
]
