"""Settings: the file, overridden by the environment, refused as a whole with the names of what is wrong."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings
from tests.company import company_settings

MINIMAL = '[sources.facts]\npath = "facts.csv"\ncolumns = { customer_id = "text", at = "timestamp" }\n'


def load(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "pipeline.toml"
    path.write_text(text)
    return load_settings({"BAROMETER_CONFIG": str(path), **environ})


def test_paths_are_relative_to_the_file_and_the_home_to_its_variable(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL, BAROMETER_HOME=str(tmp_path / "a home"))
    assert settings.features_sql == tmp_path / "sql/features.sql"
    assert settings.landing == tmp_path / "a home/landing"


def test_the_environment_overrides_any_setting(company: Path, tmp_path: Path) -> None:
    settings = company_settings(
        company, tmp_path, BUDGET__QUARANTINE_ROWS="50", COMPANY="1000", SOURCES__EVENTS__REJECT_FRACTION="0.5"
    )
    assert settings.budget.quarantine_rows == 50
    assert settings.company == "1000"
    assert settings.sources["events"].reject_fraction == 0.5
    assert settings.sources["events"].event_time == "happened_at"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("company = ", "TOML"),
        ("x = 1\n" + MINIMAL, "x: Extra inputs"),
        ("", "sources: Field required"),
        ('timezone = "Berlin"\n' + MINIMAL, "timezone: Value error, 'Berlin' is no time zone"),
        (MINIMAL.replace('"text"', '"txt"'), "sources.facts.columns.customer_id.type"),
        (MINIMAL + 'event_time = "when"\n', "'when' must be a declared column"),
        (MINIMAL + 'event_time = "customer_id"\n', "'customer_id' must be a declared column of type timestamp"),
        (MINIMAL + 'url = "sqlite://"\n', "give either path or url"),
        (MINIMAL.replace("facts.csv", "facts-{week}.csv"), "lookback_weeks goes with {week}"),
        (MINIMAL.replace("facts]", '"Bad name"]'), "no plain name"),
        ("[budget]\nquarantine_fraction = 2\n" + MINIMAL, "budget.quarantine_fraction"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert named in caught.value.found
    assert str(tmp_path / "pipeline.toml") in caught.value.found


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no configuration file .*nowhere"):
        load_settings({"BAROMETER_CONFIG": str(tmp_path / "nowhere.toml")})


def test_a_variable_that_meets_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="COMPANY__NAME"):
        load(tmp_path, 'company = "A"\n' + MINIMAL, BAROMETER__COMPANY__NAME="B")
