"""pipeline.toml names every setting, the suites fit the tables, and a week of the sample goes through the pipeline."""

import re
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from pipeline.duck import connection
from pipeline.manifests import SnapshotManifest
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings, Source, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.validation.gx import validate
from pipeline.validation.suites import load_suite
from tests.leaks import unknown_columns
from tests.sample.conftest import END, KEY, ROOT, features

WEEK = END.plus(-15)
"""It has an impossible value, one from earlier weeks, and much data that became known only later."""
TOML = (ROOT / "pipeline.toml").read_text()


@pytest.fixture(scope="module")
def settings(sample) -> Settings:
    """The root configuration, with the sample as its landing zone."""
    home = sample.folder.parent / "home"
    landing = {"BAROMETER__PATHS__LANDING": str(sample.folder)}
    return load_settings({"BAROMETER_CONFIG": str(ROOT / "pipeline.toml"), "BAROMETER_HOME": str(home), **landing})


@pytest.fixture(scope="module")
def snapshot(settings) -> Path:
    """The snapshot of the week."""
    return build_snapshot(settings, WEEK, read_sources(settings, WEEK), settings.home / "snapshot")


def tables() -> dict[str, type[BaseModel]]:
    found = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: table for name, table in found.items() if isinstance(table, type) and issubclass(table, BaseModel)}


@pytest.mark.parametrize("table", tables())
def test_pipeline_toml_has_every_setting_with_its_default_or_another(table):
    described = set(tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", TOML, flags=re.MULTILINE))[table])
    assert described == set(tables()[table].model_fields)


@pytest.mark.parametrize("name", Source.model_fields)
def test_pipeline_toml_describes_every_setting_of_a_source(name):
    explanation = TOML[TOML.index("# The sources.") : TOML.index("# The products on sale")]
    assert re.search(rf"\b{name}\b", explanation)


@pytest.mark.parametrize("file", sorted((ROOT / "expectations").rglob("*.json")), ids=lambda file: file.stem)
def test_suites_name_columns_that_are_there(file, settings, snapshot):
    assert unknown_columns(file, settings, SnapshotManifest.read(snapshot)) == set()


def test_rejects_are_few_and_within_the_budget(settings):
    for name, read in read_sources(settings, END).sources.items():
        assert read.rejects <= settings.sources[name].reject_rows
        assert not read.undeclared_columns
    assert read_sources(settings, END).sources["usage"].rejects > 0


def test_the_snapshot_is_what_plain_duckdb_makes_of_the_files(sample, snapshot):
    manifest = SnapshotManifest.read(snapshot)
    (shard,) = manifest.shards
    made = pq.read_table(snapshot.parent / shard.file)
    plain = features(sample.folder, WEEK)
    at, values = plain.column_names.index("monthly_value"), plain["monthly_value"].cast("float64")
    plain = plain.set_column(at, "monthly_value", values)  # never straight to float32
    assert made.equals(plain.cast(made.schema))


def test_impossible_values_are_quarantined_and_nothing_else_is(settings, snapshot):
    manifest = SnapshotManifest.read(snapshot)
    with connection(settings) as con:
        con.execute(f"CREATE VIEW features AS FROM read_parquet('{snapshot.parent}/shard-*.parquet')")
        columns = [*KEY, *(column.name for column in manifest.columns)]
        suite = load_suite("features", settings.expectations / "features.json", columns, {"recent_subjects": None})
        evaluated = validate(con, "features", suite, timezone=settings.timezone, index=KEY)
        critical = [query for result, query in evaluated.queries if result.stops]
        kept_out = {row[:2] for query in critical for row in con.execute(query).fetchall()}
        impossible = con.execute("""
            SELECT customer_id, product_id FROM features
            WHERE minutes_this_week NOT BETWEEN 0 AND 10080 OR minutes_three_weeks_before NOT BETWEEN 0 AND 30240
        """).fetchall()
    assert len(critical) == len([result for result in evaluated.results if result.stops])  # none is on the whole table
    assert kept_out == set(impossible)
    assert 2 <= len(kept_out) <= settings.budget.quarantine_rows
