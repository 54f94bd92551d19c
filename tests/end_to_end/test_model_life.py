"""A model's whole life, by the commands people use, the real DAGs, MLflow, and a person's answer in Airflow.

Its company changes: from one week on, those who were satisfied are not any more, and the reverse.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.services.lifecycle import down
from pipeline.models.registry import champion
from pipeline.promotion.comparison import compare
from pipeline.settings import Settings
from pipeline.weeks import Week
from tests.company import FIRST_WEEK, company_settings, own_database, write_company
from tests.dags.weeks import digest, rows
from tests.end_to_end.airflow import Api, answer, free_ports, questions
from tests.end_to_end.files import score_files

pytestmark = pytest.mark.timeout(1200)
FIRST_AS_OF, OLD, NEVER_RUN, SECOND_AS_OF, AB, NEXT = (FIRST_WEEK.plus(n) for n in (9, 10, 11, 18, 19, 20))
DRIFT = OLD
"""From this week on everything is the other way round."""
CUSTOMERS = 300
COMMANDS = """
import shlex, sys
from pipeline.cli import main
for line in sys.argv[1:]:
    print("\\x1e", end="", flush=True)
    if main(shlex.split(line), prog_name="barometer", standalone_mode=False):
        sys.exit(1)
"""
"""Several commands in one process: Airflow is imported once."""


class Company:
    """The drifting company's landing zone, as it is delivered week by week."""

    def __init__(self, folder: Path) -> None:
        write_company(
            folder, weeks=NEXT.monday.toordinal() // 7 - FIRST_WEEK.monday.toordinal() // 7 + 1, customers=CUSTOMERS
        )
        self._landing = folder / "landing"
        self._later = folder / "to come"
        self._landing.rename(self._later)
        self._landing.mkdir()
        answers = [json.loads(line) for line in (self._later / "answers.jsonl").read_text().splitlines()]
        self._answers = [
            {**answer, "answer": 7 - answer["answer"]} if answer["about_week"] >= str(DRIFT) else answer
            for answer in answers
        ]

    def deliver(self, last: Week) -> None:
        """Bring what there is at the end of a week."""
        for file in self._later.glob("events-*.csv"):
            if file.stem <= f"events-{last}":
                (self._landing / file.name).write_bytes(file.read_bytes())
        known = [answer for answer in self._answers if answer["answered_at"] < str(last.plus(1))]
        (self._landing / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in known))


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path / "drifting & co")


@pytest.fixture
def installation(company: Company, tmp_path: Path, server_url: str) -> Iterator[Settings]:
    ports = ("SERVICES__AIRFLOW_PORT", "SERVICES__MLFLOW_PORT", "SERVICE__PORT")
    overrides = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
    overrides |= own_database(server_url)
    overrides |= {"SERVICE__FILE_SOURCES": f'["file://{tmp_path}/in/"]'}
    overrides |= {"RESOURCES__SHARD_ROWS": "100", "ROUTING__MODE": "ab", "ROUTING__FRACTION": "0.5"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in overrides.items():
            patch.setenv(f"BAROMETER__{name}", value)
        settings = company_settings(tmp_path / "drifting & co", tmp_path / "home", **overrides)
        patch.setenv("BAROMETER_CONFIG", str(settings.config_file))
        patch.setenv("BAROMETER_HOME", str(settings.home))
        yield settings
        down(settings)


def barometer(*lines: str) -> list[Any]:
    """Call the command with each of these lines, one after the other; return what they print, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *lines], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(output) if output.strip() else None for output in done.stdout.split("\x1e")[1:]]


def served_by(settings: Settings, week: Week) -> dict[tuple[str, str], int]:
    """Rows of the week by role and version."""
    query = "SELECT role, model_version, count(*) AS n FROM predictions WHERE week = :week GROUP BY role, model_version"
    return {(row.role, row.model_version): row.n for row in rows(settings, query, week=week.monday)}


def approve(settings: Settings, command: list[str], comment: str, meanwhile: Callable[[], None]) -> None:
    """Call the command, and as the operator approve what it asks for; before that something else with the services."""
    environ = {**os.environ, "BAROMETER__PROMOTION__APPROVAL": "true"}
    program = str(Path(sys.executable).with_name("barometer"))
    subprocess.run([program, "up"], env=environ, check=True, capture_output=True, timeout=300)
    meanwhile()
    ask = subprocess.Popen([program, *command], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with ask as asking, Api(settings, "operator") as api:
        try:
            while asking.poll() is None:
                for question in questions(settings, api):
                    assert champion(settings) == "1", "nothing moves before the answer"
                    answer(api, question, "Approve", comment)
                time.sleep(0.5)
            assert asking.returncode == 0, asking.stderr.read().decode()
        finally:
            asking.kill()
    subprocess.run([program, "down"], env=environ, check=True, capture_output=True, timeout=300)


def test_a_model_from_its_training_to_its_withdrawal(installation: Settings, company: Company, tmp_path: Path) -> None:
    company.deliver(AB)
    first, old, second, challenger, ab = barometer(
        f"train --as-of {FIRST_AS_OF} --json",
        f"run --week {OLD} --json",
        f"train --as-of {SECOND_AS_OF} --json",
        "promote 2 --as challenger --json",
        f"run --week {AB} --model current --json",
    )
    assert (first["version"], first["is_champion"]) == ("1", True)
    assert (old["model_version"], old["trained_after_cutoff"]) == ("1", False)
    assert (second["version"], second["is_champion"]) == ("2", False)
    assert (challenger["version"], challenger["role"]) == ("2", "challenger")
    assert ab["routing"]["challenger"]["model_version"] == "2"
    split = served_by(installation, AB)
    assert set(split) == {("champion", "1"), ("challenger", "2")}
    assert sum(split.values()) == CUSTOMERS
    as_it_was = digest(installation, OLD)

    (too_early,) = compare(installation).trials
    assert too_early.verdict.startswith("Too few labels yet")
    company.deliver(NEXT)
    (trial,) = compare(installation).trials
    assert trial.champion.labels == split["champion", "1"]
    assert trial.challenger.labels == split["challenger", "2"]
    assert trial.champion.metrics["roc_auc"].value < 0.5 < trial.challenger.metrics["roc_auc"].value
    assert trial.verdict.startswith("Version 2 is better in ROC AUC")

    reason = "the world has changed"
    approve(
        installation,
        shlex.split(f"promote 2 --from-week {NEXT} --reason {shlex.quote(reason)}"),
        "I have seen it",
        meanwhile=lambda: score_files(installation, tmp_path / "in"),
    )
    assert champion(installation) == "2"
    history = (
        "SELECT promoted_by, reason FROM model_promotions WHERE role = 'champion' ORDER BY promotion_id DESC LIMIT 1"
    )
    (decided,) = rows(installation, history)
    assert decided.promoted_by == "operator"
    assert reason in decided.reason
    assert "I have seen it" in decided.reason

    after, rolled_back, _, again, never_run = barometer(
        f"run --week {NEXT} --json",
        "rollback --json",
        f"backfill --from {AB} --to {NEXT} --model 1 --json",
        f"backfill --from {OLD} --to {OLD} --json",
        f"run --week {NEVER_RUN} --json",
    )
    assert (after["model_version"], after["model_reason"]) == ("2", f"in force in the week {NEXT}")
    assert rolled_back["commands"] == [f"barometer backfill --from {AB} --to {NEXT} --model 1"]
    assert champion(installation) == "1"
    for week in (AB, NEXT):
        assert served_by(installation, week) == {("champion", "1"): CUSTOMERS}
    assert (again[0]["model_version"], again[0]["run_id"]) == ("1", f"{OLD}.2")
    assert digest(installation, OLD) == as_it_was
    assert (never_run["model_version"], never_run["model_reason"]) == ("1", f"in force in the week {NEVER_RUN}")
