"""Facts from after the cutoff, added to every file, do not change the sample company's past (invariant 4).

What could not be known is said here once more, by the columns' meaning, and not taken from the configuration.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.weeks import Week
from tests.leaks import Model, made, model_of
from tests.sample.conftest import END, ROOT

CONFIG = ROOT / "pipeline.toml"
WEEK = END.plus(-6)
CUTOFF = f"{WEEK.plus(1)} 00:00:00Z"
LATER = f"{WEEK.plus(3)} 12:00:00Z"

Rows = list[dict[str, Any]]
Edit = Callable[[Rows], Rows]


@pytest.fixture(scope="module")
def model(sample, tmp_path_factory) -> Model:
    return model_of(CONFIG, sample.folder, tmp_path_factory.mktemp("model"), WEEK)


@pytest.fixture(scope="module")
def as_it_is(sample, tmp_path_factory, model) -> dict[str, str]:
    return made(CONFIG, sample.folder, tmp_path_factory.mktemp("as it is") / "home", WEEK, model)


@pytest.fixture
def changed(sample, tmp_path, model):
    """The features and labels after each file was edited."""

    def make(edits: dict[str, Edit]) -> dict[str, str]:
        landing = Path(shutil.copytree(sample.folder, tmp_path / "landing"))
        for pattern, edit in edits.items():
            files = sorted(landing.glob(pattern))
            assert files, pattern
            for file in files:
                write(file, edit(read(file)))
        return made(CONFIG, landing, tmp_path / "home", WEEK, model)

    return make


def test_all_that_came_later_may_be_otherwise(as_it_is, changed):
    assert changed(PLANTED) == as_it_is


def test_what_was_known_counts(as_it_is, changed):
    def busier(rows: Rows) -> Rows:
        return [{**row, "minutes": 1} if row["last_used_at"] < CUTOFF else row for row in rows]

    otherwise = changed({f"usage/usage-{WEEK}*": busier, "surveys/*": answers_of_one("received_at", before=True)})
    differing = {name.split()[0] for name in as_it_is if otherwise[name] != as_it_is[name]}
    assert differing == {"the", "features", "training", "predictions"}


def renamed(rows: Rows, key: str) -> Rows:
    """The rows again, each with a new key."""
    return [{**row, key: f"new{row[key]}"} for row in rows]


def with_later_rows(key: str, time: str) -> Edit:
    """Every row again, for the same subjects but at the cutoff or later; rows that were later anyway are changed."""

    def edit(rows: Rows) -> Rows:
        again = [{**row, time: when} for when in (CUTOFF, LATER) for row in rows]
        otherwise = [row if str(row[time]) < CUTOFF else {**row, key: f"x{row[key]}", time: LATER} for row in rows]
        return otherwise + again

    return edit


def ending_later(time: str) -> Edit:
    """Rows that had not ended by the cutoff end after it, and rows that ended after it do not end."""

    def otherwise(end: str | None) -> str | None:
        return end if end and end < CUTOFF else None if end else LATER

    return lambda rows: [{**row, time: otherwise(row[time])} for row in rows]


def answers_of_one(time: str, *, before: bool = False) -> Edit:
    return lambda rows: [{**row, "answer": 1} if (str(row[time]) < CUTOFF) == before else row for row in rows]


def with_answers_about_the_week_before(rows: Rows) -> Rows:
    """Every answer again, about a week for which most customers gave none."""

    def before(monday: str) -> str:
        return str(Week.parse(monday).plus(-1))

    return rows + [{**row, "about_week": before(row["about_week"]), "answer": 1, "received_at": LATER} for row in rows]


def together(*edits: Edit) -> Edit:
    def edit(rows: Rows) -> Rows:
        for each in edits:
            rows = each(rows)
        return rows

    return edit


PLANTED: dict[str, Edit] = {
    "products.csv": lambda rows: rows + renamed(rows, "product_id"),
    "customers.parquet": lambda rows: rows + [{**row, "joined_at": LATER, "region": "other"} for row in rows],
    "subscriptions.csv.gz": together(
        ending_later("cancelled_at"),
        lambda rows: rows + [{**row, "started_at": CUTOFF} for row in renamed(rows, "customer_id")],
    ),
    "usage/*": with_later_rows("customer_id", "last_used_at"),
    "deliveries/*": with_later_rows("customer_id", "delivered_at"),
    "tickets/*": together(ending_later("resolved_at"), with_later_rows("customer_id", "opened_at")),
    "surveys/*": together(
        answers_of_one("received_at"), with_later_rows("customer_id", "received_at"), with_answers_about_the_week_before
    ),
}


def read(file: Path) -> Rows:
    """Return a file's good lines as rows; for CSV, as texts and None."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        return [{**row, **{time: f"{row[time]:%Y-%m-%d %H:%M:%S}Z" for time in times}} for row in table.to_pylist()]
    text = (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()
    if ".jsonl" in file.name:
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    header, *lines = text.splitlines()
    names = header.split(",")
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines if line.count(",") == len(names) - 1]
    return [{name: value or None for name, value in row.items()} for row in rows]


def write(file: Path, rows: Rows) -> None:
    """Write the rows in the file's format."""
    if file.suffix == ".parquet":
        schema = pq.read_schema(file)
        table = pa.Table.from_pylist(rows)
        columns = [table.column(field.name).cast(field.type) for field in schema]
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), file)
        return
    if ".jsonl" in file.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        lines = [list(rows[0]), *([value or "" for value in map(str_or_none, row.values())] for row in rows)]
        text = "".join(",".join(line) + "\n" for line in lines)
    file.write_bytes(gzip.compress(text.encode(), mtime=0) if file.suffix == ".gz" else text.encode())


def str_or_none(value: object) -> str | None:
    return None if value is None else str(value)
