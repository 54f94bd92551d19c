"""From text to types: what is good, what is a reject, and why."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.sources.casts import clock_changes
from tests.feeds import bad, feed_settings, good


def cast(folder: Path, kind: str, texts: list[str], declared: str = "") -> tuple[list[Any], list[str]]:
    """Return the values of the good texts and the texts that are rejects, each in order."""
    content = "id,value\n" + "".join(f'x,"{text}"\n' for text in texts)
    settings = feed_settings(folder, content, columns={"id": "text", "value": kind}, declared=declared)
    return [row[2] for row in good(settings)], [texts[line - 2] for line, _, _ in bad(settings)]


@pytest.mark.parametrize(
    ("kind", "accepted", "rejected"),
    [
        (
            "integer",
            {"7": 7, "-7": -7, "+7": 7, " 7 ": 7, "007": 7, "225.0": 225, "225.": 225, "": None,
             "9223372036854775807": 2**63 - 1, "9007199254740993": 2**53 + 1, "9007199254740993.0": 2**53 + 1},
            ["x", "225.5", "1e3", "1,000", "1_000", "0x10", "9223372036854775808", "nan", "1 2", "--1", "."],
        ),
        (
            "number",
            {"1.5": 1.5, "-1e3": -1000.0, ".5": 0.5, "5.": 5.0, " 2 ": 2.0, "1e-400": 0.0, "": None},
            ["1,5", "1.000,5", "1_0", "nan", "NaN", "inf", "-Infinity", "1e400", "0x10", "12 EUR", "%"],
        ),
        (
            "decimal(6,2)",
            {"1.5": "1.50", "-1": "-1.00", "1.50000": "1.50", ".25": "0.25", "9999.99": "9999.99", "1.": "1.00"},
            ["1.505", "10000", "1,5", "1e2", "nan", "1_0", "x", ".", "-"],
        ),
        (
            "decimal(6,0)",
            {"1": "1", "1.0": "1", "12.": "12"},
            ["1.5"],
        ),
        (
            "boolean",
            {"true": True, "T": True, "Yes": True, "1": True, "FALSE": False, "f": False, "no": False, " 0 ": False},
            ["2", "yup", "ja", "0.0"],
        ),
        (
            "date",
            {"2026-03-02": "2026-03-02", " 2024-02-29 ": "2024-02-29", "2026-03-02 00:00:00": "2026-03-02",
             "2026-03-02T00:00:00.000": "2026-03-02", "0001-01-01": "0001-01-01", "": None},
            ["2026-02-30", "2026-3-2", "02.03.2026", "03/02/2026", "20260302", "2026-03-02 10:00:00", "infinity",
             "epoch", "2026-03", "2026-03-02 00:00:00+00", "1772409600"],
        ),
        (
            "timestamp",
            {
                "2026-03-02 10:00:00": "2026-03-02 09:00:00+00",
                "2026-07-02T10:00": "2026-07-02 08:00:00+00",
                "2026-03-02 10:00:00.123456789": "2026-03-02 09:00:00.123456+00",
                "2026-03-02 23:59:59.9999999": "2026-03-02 22:59:59.999999+00",
                "2026-03-02T10:00:00Z": "2026-03-02 10:00:00+00",
                "2026-03-02 10:00:00 UTC": "2026-03-02 10:00:00+00",
                "2026-03-02T10:00:00+05:30": "2026-03-02 04:30:00+00",
                "2026-03-02T10:00-0330": "2026-03-02 13:30:00+00",
                "2026-03-02 10:00:00 +01": "2026-03-02 09:00:00+00",
                "9999-12-31 00:00:00": "9999-12-30 23:00:00+00",
                "": None,
            },
            ["2026-03-02", "1772409600", "2026-03-02 25:00:00", "2026-03-02 10", "2026-02-30 10:00:00", "10:00:00",
             "02.03.2026 10:00", "2026-03-02 10:00:00 Europe/Berlin", "2026-03-02 10:00:00 CET", "now", "infinity",
             "2026-03-29 02:30:00", "2026-10-25 02:30:00"],
        ),
    ],
)  # fmt: skip
def test_types(tmp_path: Path, kind: str, accepted: dict[str, Any], rejected: list[str]) -> None:
    assert cast(tmp_path, kind, [*accepted, *rejected]) == (list(accepted.values()), rejected)


def test_a_clock_change_skips_and_repeats_local_times(tmp_path: Path) -> None:
    texts = ["2026-03-29 01:59:59", "2026-03-29 02:00:00", "2026-03-29 02:59:59", "2026-03-29 03:00:00"]
    texts += ["2026-10-25 01:59:59", "2026-10-25 02:00:00", "2026-10-25 02:59:59", "2026-10-25 03:00:00"]
    texts += ["2026-10-25 02:30:00+02:00", "2026-10-25 02:30:00+01:00"]  # an offset makes them unambiguous
    values, rejects = cast(tmp_path, "timestamp", texts)
    assert rejects == [texts[1], texts[2], texts[5], texts[6]]
    assert values[-2:] == ["2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00"]


def test_reasons_name_column_value_and_type(tmp_path: Path) -> None:
    columns = {"id": "integer", "value": "timestamp"}
    content = f"id,value\n{'x' * 50},2026-10-25 02:30:00\n1,2026-10-25\n"
    changed = "value: '2026-10-25 02:30:00' is skipped or repeated by a clock change in Europe/Berlin"
    assert [reason for _, reason, _ in bad(feed_settings(tmp_path, content, columns=columns))] == [
        f"id: '{'x' * 40}…' is not an integer; {changed}",
        "value: '2026-10-25' is not a timestamp",
    ]


def test_the_source_has_a_zone_of_its_own(tmp_path: Path) -> None:
    declared = 'timezone = "America/New_York"'
    assert cast(tmp_path, "timestamp", ["2026-03-02 10:00:00"], declared) == (["2026-03-02 15:00:00+00"], [])


@pytest.mark.parametrize(
    ("kind", "declared", "text", "value"),
    [
        ("timestamp", 'timestamp_format = "%d.%m.%Y %H:%M"', "02.03.2026 10:00", "2026-03-02 09:00:00+00"),
        ("timestamp", 'timestamp_format = "%d.%m.%Y %H:%M %z"', "02.03.2026 10:00 +0500", "2026-03-02 05:00:00+00"),
        ("date", 'date_format = "%m/%d/%Y"', "03/02/2026", "2026-03-02"),
    ],
)
def test_declared_formats(tmp_path: Path, kind: str, declared: str, text: str, value: str) -> None:
    assert cast(tmp_path, kind, [text, "2026-03-02 10:00:00", "31.31.2026 10:00"], declared) == (
        [value],
        ["2026-03-02 10:00:00", "31.31.2026 10:00"],
    )


@pytest.mark.parametrize(
    ("kind", "separators", "accepted", "rejected"),
    [
        (
            "decimal(9,2)",
            ",.",
            {"1.234.567,50": "1234567.50", "1234,5": "1234.50", "-12": "-12.00", " ,5 ": "0.50", "1.234": "1234.00"},
            ["1,234.50", "12.34,5", "1.2345", "1..234", "1,5,0", "12.", ".123", "1e3", ","],
        ),
        ("number", ", ", {"1 234,5e1": 12345.0, "0,25": 0.25}, ["1.5", "1 23", "nan", "1_0"]),
        ("number", ".'", {"1'234.5": 1234.5}, ["1,5"]),
        ("integer", ",.", {"1.234": 1234, "225,0": 225, "-1.000.000": -1_000_000}, ["225.0", "1,5", "1.23"]),
    ],
)
def test_declared_separators(
    tmp_path: Path, kind: str, separators: str, accepted: dict[str, Any], rejected: list[str]
) -> None:
    declared = f'decimal_separator = "{separators[0]}"\nthousands_separator = "{separators[1]}"'
    assert cast(tmp_path, kind, [*accepted, *rejected], declared) == (list(accepted.values()), rejected)


def test_declared_formats_do_not_hide_clock_changes(tmp_path: Path) -> None:
    declared = 'timestamp_format = "%d.%m.%Y %H:%M"'
    assert cast(tmp_path, "timestamp", ["25.10.2026 02:30"], declared) == ([], ["25.10.2026 02:30"])


@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"])
def test_clock_changes_are_where_local_times_are_not_unique(name: str) -> None:
    zone = ZoneInfo(name)
    bounds = clock_changes(zone)
    assert bounds == sorted(bounds)
    local, end = datetime.fromisoformat("2011-01-01"), datetime.fromisoformat("2013-01-01")
    while local < end:
        instants = {local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        is_inside = sum(bound <= local for bound in bounds) % 2 == 1
        assert is_inside == (len(instants) == 2), local
        local += timedelta(minutes=15)


def test_utc_has_no_clock_changes(tmp_path: Path) -> None:
    assert clock_changes(ZoneInfo("UTC")) == []
    assert cast(tmp_path, "timestamp", ["2026-10-25 02:30:00"], 'timezone = "UTC"')[1] == []
