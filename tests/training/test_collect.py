"""The training set: features as of each week's own cutoff, and only the labels known by the training's."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import ModelError, SourceError
from pipeline.manifests import SnapshotManifest, TrainingSetManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.training.collect import collect
from pipeline.training.training_plan import plan_training
from pipeline.training.training_set import LABEL, split
from pipeline.weeks import Week
from tests.company import FEATURES_SQL, FIRST_WEEK, company_settings
from tests.training.conftest import LAST_WEEK, Training

AS_OF = FIRST_WEEK.plus(5)
EVENTS = f"landing/events-{FIRST_WEEK}.csv"


@pytest.fixture
def copied(company: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(company, tmp_path / "company"))


def collected(settings: Settings, as_of: Week = AS_OF) -> TrainingSetManifest:
    plan = plan_training(settings, as_of=as_of, airflow_run_id="manual__1")
    return TrainingSetManifest.read(collect(settings, plan).manifest)


def test_every_matured_week_with_its_labels_is_there(training: Training) -> None:
    manifest = TrainingSetManifest.read(training.training_set.manifest)
    assert [week.week for week in manifest.weeks] == training.plan.weeks
    assert [week.rows for week in manifest.weeks] == [100] * 6
    assert training.training_set.rows == 600
    assert 0 < training.training_set.satisfied < 600
    assert len(list((training.settings.home / "collected").glob("*/*"))) == 6


def test_a_weeks_rows_are_those_of_its_snapshot(training: Training, tmp_path: Path) -> None:
    week = Week.parse(training.plan.weeks[0])
    path = build_snapshot(training.settings, week, read_sources(training.settings, week), tmp_path / "snapshot")
    shards = [path.parent / shard.file for shard in SnapshotManifest.read(path).shards]
    expected = sorted(
        (row for shard in shards for row in pq.read_table(shard).to_pylist()), key=lambda r: r["customer_id"]
    )
    rows = pq.read_table(training.training_set.manifest.parent / f"{week}.parquet")
    assert rows.drop_columns([LABEL]).to_pylist() == expected
    answers = [json.loads(line) for line in (training.settings.landing / "answers.jsonl").read_text().splitlines()]
    satisfied = {a["customer_id"]: a["answer"] >= 4 for a in answers if a["about_week"] == str(week)}
    assert dict(zip(rows["customer_id"].to_pylist(), rows[LABEL].to_pylist(), strict=True)) == satisfied


def test_what_happens_after_the_cutoffs_changes_nothing(copied: Path, tmp_path: Path) -> None:
    before = collected(company_settings(copied, tmp_path / "before"))
    landing = copied / "landing"
    for path in landing.glob("events-*.csv"):
        with path.open("a") as file:  # AS_OF's Monday is the end of the last matured week
            file.write(f"c0001,p1,{AS_OF} 00:00:00,9999.00,z\nc9999,p1,{AS_OF.plus(1)} 12:00:00,1.00,z\n")
    with (landing / "answers.jsonl").open("a") as file:
        about = {"customer_id": "c0001", "product_id": "p1", "about_week": str(FIRST_WEEK), "answer": 5}
        file.write(json.dumps({**about, "answered_at": f"{AS_OF.plus(1)}T00:00:00"}) + "\n")
    after = collected(company_settings(copied, tmp_path / "after"))
    assert after.model_dump(exclude={"sources"}) == before.model_dump(exclude={"sources"})  # whose digests differ


def test_collecting_twice_gives_the_same_bytes(training: Training) -> None:
    again = plan_training(training.settings, as_of=LAST_WEEK, airflow_run_id="manual__2")
    assert collect(training.settings, again).digest == training.training_set.digest


@pytest.mark.parametrize(
    ("change", "weeks_again"),
    [
        ((EVENTS, "\n", f"\nc0001,p1,{AS_OF} 00:00:00,9.00,z\n"), 0),  # known only later
        ((EVENTS, "\n", f"\nc0001,p1,{FIRST_WEEK} 00:00:00,9.00,z\n"), 4),  # four weeks look back to it
        (("sql/features.sql", "SELECT", "SELECT -- another text\n"), 5),
        (("pipeline.toml", '"decimal(12,2)"', '{ type = "decimal(12,2)", known_at = "happened_at" }'), 5),
    ],
)
def test_only_snapshots_that_would_be_others_are_made_again(
    copied: Path, tmp_path: Path, change: tuple[str, str, str], weeks_again: int
) -> None:
    file, old, new = change
    collected(settings := company_settings(copied, tmp_path / "home"))
    before = set(settings.home.glob("collected/*/*/manifest.json"))
    (copied / file).write_text((copied / file).read_text().replace(old, new, 1))
    again = collected(company_settings(copied, tmp_path / "home"))
    after = set(settings.home.glob("collected/*/*/manifest.json"))
    assert (len(before), len(after), len(after - before)) == (5, 5, weeks_again)
    assert again.digest == collected(company_settings(copied, tmp_path / "new")).digest


def test_the_weekly_runs_snapshot_is_used_unless_it_is_damaged(copied: Path, tmp_path: Path) -> None:
    settings, week = company_settings(copied, tmp_path / "home"), FIRST_WEEK.plus(1)
    folder = settings.home / "snapshots" / str(week) / "1"
    build_snapshot(settings, week, read_sources(settings, week), folder)
    collected(settings)
    assert not list(settings.home.glob(f"collected/{week}/*"))
    (folder / "shard-0000.parquet").write_bytes(b"")
    collected(settings)
    assert len(list(settings.home.glob(f"collected/{week}/*"))) == 1


def test_a_label_that_matures_late_is_left_out(company: Path, tmp_path: Path) -> None:
    settings = company_settings(company, tmp_path / "home", MODEL__MATURITY_WEEKS="0")
    weeks = [week.week for week in collected(settings).weeks]
    assert weeks[-1] == str(AS_OF.plus(-1)), "answers come on the second day after the week"


def test_weeks_before_the_companys_first_file_are_left_out(company: Path, tmp_path: Path) -> None:
    settings = company_settings(company, tmp_path / "home", MODEL__TRAINING_WEEKS="40")
    assert [week.week for week in collected(settings).weeks] == [str(FIRST_WEEK.plus(n)) for n in range(5)]


def test_weeks_before_the_first_row_of_a_source_in_one_file_are_left_out(copied: Path, tmp_path: Path) -> None:
    landing = copied / "landing"
    files = sorted(landing.glob("events-*.csv"))
    lines = [line for path in files for line in path.read_text().splitlines()[1:]]
    header = files[0].read_text().splitlines()[0]
    (landing / "events.csv").write_text("\n".join([header, *lines]) + "\n")
    config = copied / "pipeline.toml"
    config.write_text(
        config.read_text().replace('"events-{week}.csv"', '"events.csv"').replace("lookback_weeks = 4\n", "")
    )
    settings = company_settings(copied, tmp_path / "home", MODEL__TRAINING_WEEKS="40")
    assert [week.week for week in collected(settings).weeks] == [str(FIRST_WEEK.plus(n)) for n in range(5)]


def test_a_gap_in_the_files_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "landing" / f"events-{FIRST_WEEK.plus(2)}.csv").unlink()
    with pytest.raises(SourceError, match="2026-01-19"):
        collected(company_settings(copied, tmp_path / "home"))


def test_subjects_returned_twice_are_left_out_as_in_quarantine(copied: Path, tmp_path: Path) -> None:
    twice = f"{FEATURES_SQL} HAVING true UNION ALL SELECT * FROM ({FEATURES_SQL}) WHERE customer_id = 'c0007'"
    (copied / "sql" / "features.sql").write_text(twice)
    manifest = collected(company_settings(copied, tmp_path / "home"))
    assert {week.rows for week in manifest.weeks} == {99}


def test_without_any_label_the_split_says_so(copied: Path, tmp_path: Path) -> None:
    (copied / "landing" / "answers.jsonl").write_text("")
    settings = company_settings(copied, tmp_path / "home")
    manifest = collected(settings)
    assert manifest.weeks == []
    with pytest.raises(ModelError, match="Only 0 past weeks have labels"):
        split(settings, manifest)
