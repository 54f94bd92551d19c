"""The corpus, one case after the other on one installation: a correct week, or a refusal without any change."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.settings import Settings
from pipeline.warehouse import transaction
from tests.company import company_settings, own_database
from tests.hostile.case import Case, Published, Refused
from tests.hostile.command import Command, Said
from tests.hostile.company import WEEK, write_hostile_company
from tests.hostile.corpus import CASES

pytestmark = pytest.mark.timeout(600)
AS_OF = WEEK.plus(-3)
LONGEST_SECONDS = 120
MOST_MIB = 1300
"""Airflow, MLflow and Great Expectations alone take 700 after their import."""

Row = dict[str, Any]


class Installation:
    """One home with a trained model and published weeks, and a landing zone that is made whole again."""

    def __init__(self, settings: Settings, command: Command) -> None:
        self.settings = settings
        self.landing = settings.landing
        self._command = command
        self._whole = shutil.copytree(self.landing, self.landing.parent / "whole")

    def run(self, case: Case | None = None) -> Said:
        arguments = ["run", "--week", str(WEEK), "--rebuild"]
        environ = {f"BAROMETER__{name}": value for name, value in (case.settings if case else {}).items()}
        with writing(self.landing / case.writer if case and case.writer else None):
            return self._command(*arguments, environ=environ, powerless=bool(case and case.powerless))

    def mend(self) -> None:
        self.landing.chmod(0o755)
        shutil.rmtree(self.landing)
        shutil.copytree(self._whole, self.landing)

    def published(self) -> bytes:
        """Return every byte that readers see: rows of all weeks and columns, and the files for people."""
        with transaction(self.settings) as warehouse:
            queries = (
                "COPY (SELECT * FROM predictions ORDER BY week, customer_id, product_id) TO STDOUT",
                "COPY (SELECT * FROM weekly_satisfaction_by_product ORDER BY week, product_id) TO STDOUT",
                "COPY (SELECT * FROM published_weeks ORDER BY week) TO STDOUT",
            )
            cursor = warehouse.connection.driver_connection.cursor()
            parts = []
            for query in queries:
                with cursor.copy(query) as copy:
                    parts += [bytes(block) for block in copy]
        folders = (self.settings.home / "exports", self.settings.site / "reports")
        files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
        return b"".join([*parts, *(str(file).encode() + file.read_bytes() for file in files)])

    def rows(self) -> dict[tuple[str, str], Row]:
        """Return the week's rows by subject, without the run that made them."""
        query = "SELECT to_jsonb(p) - 'run_id' FROM predictions AS p WHERE week = :week"
        rows = [row for (row,) in self.query(query, week=WEEK.monday)]
        return {(row["customer_id"], row["product_id"]): row for row in rows}

    def last_run(self) -> Any:
        return self.query("SELECT * FROM prediction_runs ORDER BY started_at DESC LIMIT 1")[0]

    def query(self, sql: str, **values: Any) -> list[Any]:
        with transaction(self.settings) as warehouse:
            return list(warehouse.execute(text(sql), values))

    def leftovers(self) -> list[Path]:
        """Return the temporary files that were left in the home."""
        home = self.settings.home
        return [path for path in home.rglob("*") if path.name.startswith(".tmp") or path.parent == home / "tmp"]


@contextmanager
def writing(path: Path | None) -> Iterator[None]:
    """Keep adding to a file until the block ends."""
    if path is None:
        yield
        return
    ended = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            while not ended.is_set():
                file.write(b"\n")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("hostile") / "company"
    write_hostile_company(folder)
    database = own_database(server_url)
    settings = company_settings(folder, folder.parent / "home", **database)
    environ = {
        "BAROMETER_CONFIG": str(settings.config_file),
        "BAROMETER_HOME": str(settings.home),
        **{f"BAROMETER__{name}": value for name, value in database.items()},
    }
    with Command(environ) as command:
        for arguments in (
            ["train", "--as-of", str(AS_OF)],
            ["backfill", "--from", str(AS_OF.plus(1)), "--to", str(WEEK)],
        ):
            said = command(*arguments)
            assert said.code == 0, said.output
        yield Installation(settings, command)


@pytest.fixture(scope="module")
def clean(installation: Installation) -> dict[tuple[str, str], Row]:
    """The week's rows from undamaged files."""
    return installation.rows()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_feed(installation: Installation, clean: dict[tuple[str, str], Row], case: Case) -> None:
    before = installation.published()
    try:
        case.damage(installation.landing)
        said = installation.run(case)
    finally:
        installation.mend()
    assert "Traceback" not in said.output
    assert said.seconds < LONGEST_SECONDS
    assert said.peak_mib < MOST_MIB
    assert installation.leftovers() == []
    if isinstance(case.outcome, Refused):
        assert installation.published() == before
        is_refused(installation, case.outcome, said)
    else:
        is_published(installation, case.outcome, said, clean)


def is_refused(installation: Installation, outcome: Refused, said: Said) -> None:
    assert said.code == 1, said.output
    found, expected, do = said.output.splitlines()[-3:]
    assert re.fullmatch(pattern(f"Error: {outcome.says}"), found)
    assert len(found) < 1000
    assert expected.startswith("Expected: ")
    assert do.startswith("What to do: ")
    run = installation.last_run()
    assert (run.state, run.published_at) == ("failed", None)
    assert f"Error: {run.error}" == f"{found} {expected} {do}"
    assert f"  {outcome.after} failed" in said.output.splitlines()


def is_published(installation: Installation, outcome: Published, said: Said, clean: dict[tuple[str, str], Row]) -> None:
    assert said.code == 0, said.output
    run, rows = installation.last_run(), installation.rows()
    assert run.state == "published"
    assert run.subjects == run.predicted + run.quarantined
    assert (run.predicted, run.quarantined, run.rejects) == (len(rows), outcome.quarantined, outcome.rejects)
    assert run.source_lines == run.source_rows + run.rejects
    kept_out = installation.query("SELECT * FROM quarantine WHERE run_id = :run_id", run_id=run.run_id)
    rejects = installation.query("SELECT * FROM rejects WHERE accepted_run_id = :run_id", run_id=run.run_id)
    assert (len(kept_out), len(rejects)) == (outcome.quarantined, outcome.rejects)
    reasons = [row.reason for row in rejects] + [reason for row in kept_out for reason in row.reasons]
    assert [reason for reason in reasons if not re.fullmatch(pattern(outcome.says), reason)] == []
    gone = {(row.customer_id, row.product_id) for row in kept_out}
    more = {(customer, "p0"): info for customer, info in outcome.more.items()}
    assert rows.keys() == (clean.keys() - gone) | more.keys()
    assert {key: row for key, row in rows.items() if key not in more} == {
        k: r for k, r in clean.items() if k not in gone
    }
    assert all(info.items() <= rows[key]["info"].items() for key, info in more.items())


def pattern(says: str) -> str:
    """Return the regular expression of a message, in which … is any text."""
    return ".*".join(map(re.escape, says.split("…")))


def test_in_the_end_whole_files_make_the_same_week(
    installation: Installation, clean: dict[tuple[str, str], Row]
) -> None:
    said = installation.run()
    is_published(installation, Published(), said, clean)
