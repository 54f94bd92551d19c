"""Values of another kind than declared."""

from typing import Any

import pyarrow as pa

from tests.hostile.case import Case, Published, Refused, beyond_budget, event, visit
from tests.hostile.company import ACCOUNTS, EVENTS, VISITS, WEEK
from tests.hostile.damage import all_of, columns, more, more_rows, table

EVENTS_READ = [f"events-{WEEK.plus(-weeks)}.csv" for weeks in range(4)]


def _account(**values: Any) -> dict[str, Any]:
    return {"customer_id": "c0001", "product_id": "p1", "opened_at": "2026-01-01 09:00:00", "credit": 1.0, **values}


def _german(line: list[bytes]) -> list[bytes]:
    return [*line[:3], b'"' + line[3].replace(b".", b",") + b'"', *line[4:]]


def _day_first(line: list[bytes]) -> list[bytes]:
    day, _, time = line[2].decode().partition(" ")
    return [*line[:2], f"{'.'.join(reversed(day.split('-')))} {time}".encode() if time else line[2], *line[3:]]


VALUES = [
    Case(
        "text in a number",
        more(EVENTS, event(amount="much")),
        Published(1, says="amount: 'much' is not a decimal(12,2)"),
    ),
    Case("more bad lines than the error budget", more(EVENTS, *[event(amount="much")] * 3), Refused(beyond_budget())),
    Case("comma decimals", columns(EVENTS, _german), Refused(beyond_budget())),
    Case(
        "comma decimals that are declared",
        all_of(*(columns(name, _german) for name in EVENTS_READ)),
        Published(),
        settings={"SOURCES__EVENTS__DECIMAL_SEPARATOR": "','"},
    ),
    Case(
        "thousands separators",
        more(EVENTS, event(amount='"1,234.50"')),
        Published(1, says="amount: '1,234.50' is not a decimal(12,2)"),
    ),
    Case(
        "thousands separators that are declared",
        more(EVENTS, event(customer="t1", amount='"1,234.50"'), event(customer="t2", amount='"12,34.50"')),
        Published(1, says="amount: '12,34.50' is not a decimal(12,2)", more={"t1": {}}),
        settings={"SOURCES__EVENTS__THOUSANDS_SEPARATOR": "','"},
    ),
    Case("dates in another format", columns(EVENTS, _day_first), Refused(beyond_budget())),
    Case(
        "a date in another format",
        more(EVENTS, event("23.03.2026 10:00:00")),
        Published(1, says="happened_at: '23.03.2026 10:00:00' is not a timestamp"),
    ),
    Case(
        "an impossible date",
        more(EVENTS, event("2026-02-30 10:00:00")),
        Published(1, says="happened_at: '2026-02-30 10:00:00' is not a timestamp"),
    ),
    Case(
        "a local time that the clock change in spring skips",
        more(EVENTS, event("2026-03-29 02:30:00")),
        Published(
            1, says="happened_at: '2026-03-29 02:30:00' is skipped or repeated by a clock change in Europe/Berlin"
        ),
    ),
    Case(
        "a local time that the clock change in autumn repeats",
        more(EVENTS, event("2025-10-26 02:30:00")),
        Published(
            1, says="happened_at: '2025-10-26 02:30:00' is skipped or repeated by a clock change in Europe/Berlin"
        ),
    ),
    Case(
        "times around a clock change, with their offset",
        more(
            EVENTS, event("2026-03-29 01:30:00+01:00", customer="s1"), event("2026-03-29 03:30:00+02:00", customer="s2")
        ),
        Published(more={"s1": {}, "s2": {}}),
    ),
    Case("NaN", more(EVENTS, event(amount="NaN")), Published(1, says="amount: 'NaN' is not a decimal(12,2)")),
    Case(
        "an infinity",
        more_rows(ACCOUNTS, _account(credit=float("inf"))),
        Published(1, says="credit: 'inf' is not a number"),
    ),
    Case(
        "a number that is infinite to a model (beyond 3.4e38)",
        all_of(
            more(EVENTS, event(customer="h1")),
            more_rows(ACCOUNTS, _account(customer_id="h1", product_id="p0", credit=1e39)),
        ),
        Published(quarantined=1, says="value_is_finite on credit: value inf"),
    ),
    Case(
        "a null in a key",
        more(EVENTS, event(customer="")),
        Refused(
            "… sources/events: expect_column_values_to_not_be_null on customer_id found 1 of … rows fail…",
            "validate_sources",
        ),
    ),
    Case(
        "a key of spaces",
        more(EVENTS, event(customer="  ")),
        Published(quarantined=1, says="key_is_not_empty on customer_id: value …"),
    ),
    Case(
        "keys with leading zeros and spaces",
        more(EVENTS, *(event(customer=key) for key in ("7", "007", " 7"))),
        Published(more={"7": {}, "007": {}, " 7": {}}),
    ),
    Case(
        "a subject twice",
        more_rows(ACCOUNTS, _account(credit=2.0)),
        Published(quarantined=1, says="subject_is_there_once on customer_id, product_id: rows 2"),
    ),
    Case(
        "more subjects twice than the quarantine's budget",
        table(ACCOUNTS, lambda old: pa.concat_tables([old, old.slice(0, 9)])),
        Refused("9 of the … subjects of … are quarantined. …", "validate_features"),
    ),
    Case(
        "a whole number past 2^53",
        all_of(
            more(EVENTS, event(customer="n1")),
            more_rows(ACCOUNTS, _account(customer_id="n1", product_id="p0", reference=2**53 + 1)),
        ),
        Published(more={"n1": {"reference": str(2**53 + 1)}}),
    ),
    Case(
        "a whole number past 2^63",
        more(VISITS, visit(pages=str(2**63))),
        Published(1, says=f"pages: '{2**63}' is not an integer"),
    ),
]
