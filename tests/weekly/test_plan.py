"""Plan: the run is on record before anything can fail, and what it pins does not change afterwards."""

from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.orchestration.run_facts import run_facts
from pipeline.settings import Settings
from pipeline.training.register import register
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Plan
from pipeline.weekly.plan import config_digest, plan
from pipeline.weeks import Week
from tests.company import company_settings
from tests.published import publish_week
from tests.tiny_model import evaluated_as_of, tiny_bundle

WEEK = Week.parse("2026-03-02")


def planned(settings: Settings, *, rebuild: bool = False, model: str = "auto") -> Plan:
    return plan(settings, week=WEEK, model=model, rebuild=rebuild, airflow_run_id="manual__1")


@pytest.fixture
def with_model(warehouse_settings: Settings, tmp_path: Path) -> Settings:
    tiny_bundle(tmp_path / "bundle/model")
    register(warehouse_settings, *evaluated_as_of(warehouse_settings, tmp_path / "bundle/model", WEEK))
    return warehouse_settings


def test_a_run_without_a_model_is_refused_and_on_record(warehouse_settings: Settings) -> None:
    with pytest.raises(ModelError, match="barometer train"):
        planned(warehouse_settings)
    record = runs.run(warehouse_settings, f"{WEEK}.1")
    assert record.state == "failed"
    assert "barometer train" in str(record.error)


def test_a_plan_pins_the_version_and_says_why(with_model: Settings) -> None:
    made = planned(with_model)
    record, facts = runs.run(with_model, made.run_id), run_facts(made, made)
    assert made.reused_snapshot is None
    assert (record.state, facts["model_version"], facts["bundle_digest"]) == ("running", "1", made.bundle_digest)
    assert facts["model_reason"] == made.model_reason
    assert record.code_version
    assert Plan.model_validate_json((made.folder / "plan.json").read_text()) == made


def test_a_rerun_reuses_the_published_snapshot_and_version_unless_rebuild(with_model: Settings) -> None:
    publish_week(with_model, WEEK, [("c1", "p1", 0.5, None)], snapshot_manifest="/there/manifest.json")
    again, anew = planned(with_model), planned(with_model, rebuild=True)
    assert again.reused_snapshot == Path("/there/manifest.json")
    assert anew.reused_snapshot is None
    assert again.model_version == anew.model_version == "1"


def test_the_config_digest_follows_what_shapes_results_and_nothing_else(company: Path, tmp_path: Path) -> None:
    elsewhere = {"DATABASE__URL": "postgresql://u:secret@h:1", "SERVICES__AIRFLOW_PORT": "1"}
    here, there = company_settings(company, tmp_path / "a"), company_settings(company, tmp_path / "b", **elsewhere)
    assert config_digest(here) == config_digest(there)
    assert config_digest(here) != config_digest(company_settings(company, tmp_path / "a", MODEL__THRESHOLD="0.6"))
