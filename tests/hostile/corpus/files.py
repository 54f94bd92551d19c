"""Files that are absent, cannot be read or have other columns."""

from tests.hostile.case import Case, Published, Refused, event
from tests.hostile.company import EVENTS, EVENTS_BEFORE, VISITS
from tests.hostile.damage import all_of, columns, copied, lines, more, nothing, removed, renamed, replaced, text

WHICH_FILES = [
    Case(
        "a file is absent", removed(EVENTS), Refused(f"Source events: there is no file {EVENTS} in the landing zone …")
    ),
    Case(
        "a file whose name says that it is still being delivered",
        renamed(EVENTS, f"{EVENTS}.part"),
        Refused(f"Source events: there is no file {EVENTS} in the landing zone …"),
    ),
    Case(
        "the file of the week before is missing, older files are there",
        removed(EVENTS_BEFORE),
        Refused(f"Source events: {EVENTS_BEFORE} of the week … is missing, though … before it is there."),
    ),
    Case("an empty CSV file", replaced(EVENTS, bytes), Refused(f"Source events: …/{EVENTS} is empty.")),
    Case(
        "an empty gzip file",
        replaced(VISITS, bytes),
        Refused(f"Source visits: …/{VISITS} cannot be read to its end: …"),
    ),
    Case(
        "JSON Lines without a line",
        lines(VISITS, lambda _: []),
        Refused("… sources/visits: expect_table_row_count_to_be_between found 0…", "validate_sources"),
    ),
    Case(
        "a header only",
        lines(EVENTS, lambda _: []),
        Refused("… sources/events: expect_table_row_count_to_be_between found 0…", "validate_sources"),
    ),
    Case(
        "a file that is still being written",
        nothing,
        writer=EVENTS,
        outcome=Refused(f"Source events: …/{EVENTS} changed while it was read; …"),
    ),
    Case(
        "a folder without permission",
        lambda landing: landing.chmod(0),
        Refused(f"Source events: {EVENTS} in the landing zone … cannot be looked up: Permission denied."),
        powerless=True,
    ),
    Case(
        "a file without permission",
        all_of(more(EVENTS, event()), lambda landing: (landing / EVENTS).chmod(0)),
        Refused(f"Source events: …/{EVENTS} cannot be read: Permission denied."),
        powerless=True,
    ),
    Case(
        "a path that leads out of the landing zone",
        nothing,
        Refused(f"Source events: the path '../{EVENTS}' leads out of the landing zone …"),
        settings={"SOURCES__EVENTS__PATH": "../events-{week}.csv"},
    ),
    Case(
        "a link that leads out of the landing zone",
        all_of(
            copied(EVENTS, f"../{EVENTS}"),
            removed(EVENTS),
            lambda landing: (landing / EVENTS).symlink_to(f"../{EVENTS}"),
        ),
        Refused(f"Source events: …/{EVENTS} is a link that leads out of the landing zone …"),
    ),
]

COLUMNS = [
    Case(
        "a column is missing",
        columns(EVENTS, lambda line: line[:3] + line[4:]),
        Refused(f"Source events: …/{EVENTS} has no column 'amount'; its header is …"),
    ),
    Case("a column more", columns(EVENTS, lambda line: [*line, b"new"]), Published()),
    Case(
        "ten thousand columns more",
        columns(EVENTS, lambda line: [*line, *[b"x"] * 10_000]),
        Refused(f"Source events: …/{EVENTS} has 10005 columns."),
    ),
    Case(
        "a column has another name",
        text(EVENTS, lambda content: content.replace(b"amount", b"Amount")),
        Refused(f"Source events: …/{EVENTS} has no column 'amount'; its header is …"),
    ),
    Case("columns in another order", columns(EVENTS, lambda line: line[::-1]), Published()),
    Case(
        "a column is there twice",
        columns(EVENTS, lambda line: [*line, line[3]]),
        Refused(f"Source events: …/{EVENTS} has the column 'amount' twice; its header is …"),
    ),
    Case(
        "a key in JSON Lines has another name",
        text(VISITS, lambda content: content.replace(b"pages", b"Pages")),
        Refused(f"Source visits: …/{VISITS}: no record has 'pages'."),
    ),
]
