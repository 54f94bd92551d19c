"""Feeds that are too small, too large, or came before."""

import pyarrow as pa

from tests.hostile.case import Case, Published, Refused, event
from tests.hostile.company import ACCOUNTS, EVENTS, EVENTS_BEFORE, VISITS, VISITS_BEFORE
from tests.hostile.damage import all_of, copied, lines, nothing, replaced, table

BAD_ROWS = 1_000_000


VOLUME = [
    Case(
        "a week's feed that is four-fifths empty",
        lines(EVENTS, lambda found: found[::5]),
        Refused("… sources/events: expect_table_row_count_to_be_between found …", "validate_sources"),
    ),
    Case(
        "a week's feed that came twice",
        lines(EVENTS, lambda found: found * 2),
        Refused("… sources/events: expect_table_row_count_to_be_between found …", "validate_sources"),
    ),
    Case(
        "the same, if only the week's own file is read",
        lines(VISITS, lambda found: found * 2),
        Refused("… sources/visits: expect_table_row_count_to_be_between found …", "validate_sources"),
    ),
    Case(
        "a whole file that is four-fifths empty",
        table(ACCOUNTS, lambda old: old.slice(0, len(old) // 5)),
        Refused("… sources/whole/accounts: expect_table_row_count_to_be_between found …", "validate_sources"),
    ),
    Case(
        "a whole file that came twice",
        table(ACCOUNTS, lambda old: pa.concat_tables([old, old])),
        Refused("… sources/whole/accounts: expect_table_row_count_to_be_between found …", "validate_sources"),
    ),
    Case(
        "last week's feed again",
        copied(EVENTS_BEFORE, EVENTS),
        Refused(f"Source events: …/{EVENTS} is, byte for byte, …/{EVENTS_BEFORE}."),
    ),
    Case(
        "last week's feed again, if only the week's own file is read",
        copied(VISITS_BEFORE, VISITS),
        Refused(f"Source visits: …/{VISITS} is, byte for byte, …/{VISITS_BEFORE}."),
    ),
    Case(
        "last week's feed again, with other bytes",
        all_of(copied(EVENTS_BEFORE, EVENTS), lines(EVENTS, lambda found: found[::-1])),
        Refused("… sources/events: expect_table_row_count_to_be_between found 0…", "validate_sources"),
    ),
    Case("a whole file that is the same as last week", nothing, Published()),
    Case(
        "one million bad rows",
        replaced(
            EVENTS,
            lambda: b"customer_id,product_id,happened_at,amount,kind\n" + f"{event(amount='x')}\n".encode() * BAD_ROWS,
        ),
        Refused(
            f"Source events has {BAD_ROWS} new rejects among … lines, for example {EVENTS} line 2: "
            "amount: 'x' is not a decimal(12,2); …"
        ),
    ),
]
