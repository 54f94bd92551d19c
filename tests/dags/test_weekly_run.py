"""Whole runs of the real DAGs on the test company, in one process: what they publish, record, and do again."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.code_version import code_version
from pipeline.errors import BarometerError, ModelError, RunError
from pipeline.files import sha256_of_file
from pipeline.manifests import SnapshotManifest
from pipeline.models.bundle import BUNDLE_FILE
from pipeline.warehouse import runs
from pipeline.weekly import check
from pipeline.weekly.handoffs import Plan
from tests.dags.weeks import AS_OF, WEEK, digest, rows

# skops looks at every module that is loaded, Airflow's deprecated ones among them
pytestmark = pytest.mark.filterwarnings("ignore:The `airflow")

STAGES = {"plan", "ingest", "validate_sources", "features", "validate_features", "score", "check", "publish", "report"}


@pytest.fixture(scope="module")
def published(weekly):
    return weekly()


def test_a_run_publishes_its_week_and_conserves_its_subjects(installation, published):
    assert published.state == "published"
    assert published.week == WEEK.monday
    assert (published.subjects, published.predicted, published.quarantined) == (100, 99, 1)
    query = "SELECT count(*), min(run_id), max(run_id) FROM predictions WHERE week = :week"
    (counted,) = rows(installation, query, week=WEEK.monday)
    assert tuple(counted) == (published.predicted, published.run_id, published.run_id)
    assert published.source_lines == published.source_rows + published.rejects
    assert published.rejects == 1


def test_one_join_leads_from_a_prediction_to_all_that_made_it(installation, published):
    query = """
        SELECT DISTINCT p.model_version, r.model_version AS recorded, r.bundle_digest, r.snapshot_digest,
            r.snapshot_manifest, r.code_version
        FROM predictions AS p JOIN prediction_runs AS r USING (run_id) WHERE p.week = :week
    """
    (made,) = rows(installation, query, week=WEEK.monday)
    path = Path(made.snapshot_manifest)
    snapshot = SnapshotManifest.read(path)
    assert made.snapshot_digest == snapshot.digest
    assert [sha256_of_file(path.with_name(shard.file)) for shard in snapshot.shards] == [
        s.digest for s in snapshot.shards
    ]
    plan = Plan.model_validate_json((installation.home / f"runs/{published.run_id}/plan.json").read_text())
    assert made.bundle_digest == sha256_of_file(plan.bundle / BUNDLE_FILE)
    assert made.model_version == made.recorded == plan.model_version
    assert made.code_version == code_version()


def test_the_record_tells_what_each_stage_cost_and_the_report_is_written(installation, published):
    assert set(published.stage_seconds) == set(published.stage_peak_mib) == STAGES
    assert all(seconds >= 0 for seconds in published.stage_seconds.values())
    assert all(50 < mib < 2000 for mib in published.stage_peak_mib.values())
    assert published.run_id in (installation.site / f"reports/{WEEK}.html").read_text()


def test_airflow_keeps_addresses_counts_and_links_to_the_report_and_the_data_docs(installation, published):
    from airflow.models.asset import AssetEvent
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    of_run = XComModel.run_id == published.airflow_run_id
    with create_session() as session:
        kept = session.execute(select(XComModel.task_id, XComModel.key, XComModel.value).where(of_run)).all()
        (event,) = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == published.airflow_run_id))
        assert event.extra.items() >= {"predicted": published.predicted, "run_id": published.run_id}.items()
    assert len(kept) > len(STAGES)
    assert max(len(json.dumps(value)) for *_, value in kept) < 2000
    site, data_docs = installation.service.url, f"data_docs/{published.run_id}/index.html"
    assert {task: value for task, key, value in kept if key.startswith("link_")} == {
        **dict.fromkeys(("validate_sources", "validate_features", "check"), f"{site}/{data_docs}"),
        "report": f"{site}/reports/{WEEK}.html",
    }
    assert (installation.site / data_docs).is_file()


def test_running_a_week_again_leaves_the_same_rows(installation, weekly, published):
    before = digest(installation, WEEK)
    again = weekly()
    assert again.run_id != published.run_id
    assert digest(installation, WEEK) == before
    assert runs.run(installation, published.run_id).state == "superseded"
    rebuilt = weekly(rebuild=True)
    assert rebuilt.snapshot_digest == again.snapshot_digest
    assert digest(installation, WEEK) == before


def test_a_past_week_uses_the_version_in_force_then_and_says_when_it_saw_the_future(weekly):
    assert weekly(week=str(AS_OF)).model_reason == f"in force in the week {AS_OF}"
    before = AS_OF.plus(-1)
    with pytest.raises(ModelError) as refused:
        weekly(week=str(before))
    assert str(before) in refused.value.found
    forced = weekly(week=str(before), model="current")
    assert forced.trained_after_cutoff


def test_a_week_without_data_is_refused_and_recorded_and_hurts_nothing(installation, weekly, published):
    before = digest(installation, WEEK)
    with pytest.raises(BarometerError) as refused:
        weekly(week="2026-06-01", model="current")
    (last,) = rows(installation, "SELECT state, error FROM prediction_runs WHERE week = '2026-06-01'")
    assert last.state == "failed"
    assert last.error == str(refused.value)
    assert digest(installation, WEEK) == before


def test_a_run_whose_stage_could_not_say_why_is_recorded_as_failed(installation, weekly, monkeypatch):
    """As when a task is killed for good or its time is up: only Airflow knows of it."""

    @functools.wraps(check.check)
    def defect(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(check, "check", defect)
    with pytest.raises(RunError):
        weekly()
    last = rows(installation, "SELECT state, error FROM prediction_runs ORDER BY started_at DESC LIMIT 1")[0]
    assert last.state == "failed"
    assert "task_failure" in last.error
