"""The real DAG of a file, by the command: what comes out, and what is refused.

After `test_weekly_run`, whose model it uses.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch_jobs.places import DAG_ID, hand_in, incoming
from pipeline.cli import main
from pipeline.cli.score import score_file
from pipeline.errors import ConfigError, RequestError, RunError
from pipeline.files import sha256_of_file
from pipeline.models.registry import bundle_of, champion
from pipeline.orchestration.dag_runs import run_dag
from tests.batch_jobs.conftest import GOOD, csv_of
from tests.batch_jobs.test_stages import expected_of, some_rows
from tests.dags.weeks import rows

pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")


def test_a_file_is_scored_by_the_champion_in_its_order(installation, weekly, output_as_on_a_terminal, tmp_path: Path):
    file, to = tmp_path / "rows.csv", tmp_path / "results.jsonl"
    given = [*some_rows(50), {**GOOD, "amount": "a lot"}, {**GOOD, "amount": -1}, GOOD]
    file.write_bytes(csv_of(given))
    before = rows(installation, "SELECT count(*) FROM predictions")
    with output_as_on_a_terminal():
        main(["score", str(file), "--to", str(to)], standalone_mode=False)
    results = [json.loads(line) for line in to.read_text().splitlines()]
    version = champion(installation)
    assert [row["row"] for row in results] == list(range(53))
    predicted = [row["satisfaction"] for row in results if row["error"] is None]
    assert predicted == expected_of(installation, bundle_of(installation, version), [*some_rows(50), GOOD])
    assert {row["model_version"] for row in results if row["error"] is None} == {version}
    assert "'a lot' is not a number" in results[50]["error"]
    assert "value -1.0" in results[51]["error"]
    assert rows(installation, "SELECT count(*) FROM predictions") == before


def test_a_name_that_says_no_format_is_refused_before_anything_runs(installation, tmp_path: Path):
    with pytest.raises(ConfigError, match="does not show a format"):
        score_file(installation, str(tmp_path / "rows.xlsx"))


def run(installation, output_as_on_a_terminal, **params: Any) -> dict[str, Any]:
    given = {"file": None, "uri": None, "format": None, **params}
    with output_as_on_a_terminal():
        return run_dag(installation, DAG_ID, given, result_of="finish", watch=lambda _: None)


def test_the_dag_itself_reads_no_uri_that_is_not_allowed(
    installation, weekly, output_as_on_a_terminal, tmp_path: Path, monkeypatch
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/rows.csv").write_bytes(csv_of([GOOD]))
    (tmp_path / "secret.csv").write_bytes(csv_of([GOOD]))
    (tmp_path / "in/link.csv").symlink_to(tmp_path / "secret.csv")
    inside, outside, link = (f"file://{tmp_path / name}" for name in ("in/rows.csv", "secret.csv", "in/link.csv"))
    with pytest.raises(RequestError, match="Files may not be read from this URI"):
        run(installation, output_as_on_a_terminal, uri=inside)
    monkeypatch.setenv("BAROMETER__SERVICE__FILE_SOURCES", f'["file://{tmp_path}/in/"]')
    for uri in (outside, link):
        with pytest.raises(RequestError, match="Files may not be read from this URI"):
            run(installation, output_as_on_a_terminal, uri=uri)
    assert run(installation, output_as_on_a_terminal, uri=inside)["predicted"] == 1


def test_one_run_for_one_file(installation, weekly, output_as_on_a_terminal, tmp_path: Path):
    arrived = incoming(installation)
    arrived.write_bytes(csv_of([GOOD]))
    name = hand_in(installation, "job1", arrived, sha256_of_file(arrived), "csv")
    assert run(installation, output_as_on_a_terminal, file=name)["predicted"] == 1
    with pytest.raises(RunError, match="belongs to the run manual__"):
        run(installation, output_as_on_a_terminal, file=name)
    with pytest.raises(ConfigError, match="no file"):
        run(installation, output_as_on_a_terminal)
