"""Settings from the file, a profile and the environment, which are refused with the names of the wrong ones."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from pipeline.duck import TASKS
from pipeline.errors import ConfigError
from pipeline.settings import ROOT, Settings, load_settings
from pipeline.settings import load as load_with_origins
from pipeline.settings.secrets import filled_url
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


def test_a_path_may_name_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(tmp_path, f'[paths]\nlanding = "$FEEDS_OF_TEST/in"\n{MINIMAL}')
    with pytest.raises(ConfigError, match="the environment variable FEEDS_OF_TEST is not set"):
        _ = settings.landing
    monkeypatch.setenv("FEEDS_OF_TEST", "/srv/feeds")
    assert settings.landing == Path("/srv/feeds/in")


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
        ('timezone = "Berlin"\n' + MINIMAL, "timezone: Value error, 'Berlin' is not a time zone"),
        (MINIMAL.replace('"text"', '"txt"'), "sources.facts.columns.customer_id.type"),
        (MINIMAL + 'event_time = "when"\n', "'when' must be a declared column"),
        (MINIMAL + 'event_time = "customer_id"\n', "'customer_id' must be a declared column of type timestamp"),
        (MINIMAL + 'url = "sqlite://"\n', "give one of path, url"),
        (MINIMAL.replace("facts.csv", "facts-{week}.csv"), "lookback_weeks goes with {week}"),
        (MINIMAL.replace("facts]", '"Bad name"]'), "not a plain name"),
        (MINIMAL + '\n[service]\nfile_sources = ["s3://user@bucket/a"]\n', "not a plain prefix"),
        (MINIMAL + '\n[service]\nfile_sources = ["file:///srv/../etc"]\n', "not a plain prefix"),
        ("[budget]\nquarantine_fraction = 2\n" + MINIMAL, "budget.quarantine_fraction"),
        ('profile = "production"\n' + MINIMAL, "not a table of tables"),
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


PROFILES = (
    MINIMAL
    + """
[budget]
quarantine_rows = 1
quarantine_fraction = 0.1

[profile.production]
timezone = "Europe/Berlin"
budget.quarantine_rows = 2

[profile.production.sources.facts]
connection = "shop"
table = "facts"

[profile.trial.sources.facts]
path = "other.csv"
"""
)


def test_a_profile_overlays_the_file_and_the_environment_overlays_both(tmp_path: Path) -> None:
    plain = load(tmp_path, PROFILES)
    assert (plain.profile, plain.timezone, plain.budget.quarantine_rows) == (None, "UTC", 1)
    chosen = load(tmp_path, PROFILES, BAROMETER_PROFILE="production")
    assert (chosen.profile, chosen.timezone, chosen.budget.quarantine_rows) == ("production", "Europe/Berlin", 2)
    assert chosen.budget.quarantine_fraction == 0.1
    both = load(tmp_path, PROFILES, BAROMETER_PROFILE="production", BAROMETER__BUDGET__QUARANTINE_ROWS="3")
    assert both.budget.quarantine_rows == 3


def test_a_profile_may_read_a_source_elsewhere(tmp_path: Path) -> None:
    production = load(tmp_path, PROFILES, BAROMETER_PROFILE="production").sources["facts"]
    assert (production.path, production.connection, production.table) == (None, "shop", "facts")
    assert production.columns.keys() == {"customer_id", "at"}
    assert load(tmp_path, PROFILES, BAROMETER_PROFILE="trial").sources["facts"].path == "other.csv"


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'prod'") as caught:
        load(tmp_path, PROFILES, BAROMETER_PROFILE="prod")
    assert "production, trial" in caught.value.expected


def test_every_value_has_an_origin(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(PROFILES)
    environ = {"BAROMETER_CONFIG": str(path), "BAROMETER_PROFILE": "production", "BAROMETER__MODEL__SEED": "3"}
    loaded = load_with_origins(environ)
    assert loaded.profiles == ["production", "trial"]
    for name, origin in {
        ("budget", "quarantine_rows"): "[profile.production]",
        ("budget", "quarantine_fraction"): "pipeline.toml",
        ("sources", "facts", "columns", "at", "type"): "pipeline.toml",
        ("sources", "facts", "table"): "[profile.production]",
        ("model", "seed"): "BAROMETER__MODEL__SEED",
        ("model", "name"): "default",
        ("home",): "default",
        ("profile",): "BAROMETER_PROFILE",
    }.items():
        assert loaded.origin(name) == origin, name


def test_what_a_profile_or_a_variable_gets_wrong_is_named_with_its_origin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"budget\.quarantine_rows \(from BAROMETER__BUDGET__QUARANTINE_ROWS\)"):
        load(tmp_path, PROFILES, BAROMETER__BUDGET__QUARANTINE_ROWS="many")
    with pytest.raises(ConfigError, match=r"budget\.rows \(from \[profile\.production\]\)"):
        load(tmp_path, PROFILES.replace("budget.quarantine_rows", "budget.rows"), BAROMETER_PROFILE="production")


@pytest.mark.parametrize("text", ['home = "x"\n', 'config_file = "x"\n'])
def test_what_only_the_environment_can_say_is_no_setting(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="which is not a setting"):
        load(tmp_path, text + MINIMAL)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hush@host/d",
        "postgresql://user:a@hush:5@host:5432/d",
        "postgresql://user:x$HUSHhush@host/d",
        "postgresql://host/d?user=u&password=hush",
        "user:hush@host",
    ],
)
@pytest.mark.parametrize("place", ["file", "profile"])
def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path, url: str, place: str) -> None:
    table = "database" if place == "file" else "profile.production.database"
    with pytest.raises(ConfigError, match="contains a password") as caught:
        load(tmp_path, f'{MINIMAL}[{table}]\nurl = "{url}"\n', BAROMETER_PROFILE="production" * (place == "profile"))
    assert "hush" not in str(caught.value)
    assert "database.url" in caught.value.found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:$SECRET@host/d",
        "postgresql://user:${SECRET}@host/d",
        "postgresql://$LOGIN@host/d",
        "$WHOLE",
        "postgresql://user@host:5432/d",
        "sqlite:////srv/a@b/shop.db",
        "postgresql://host/d?password=$SECRET",
    ],
)
def test_a_url_without_a_secret_is_accepted(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, f'{MINIMAL}[database]\nurl = "{url}"\n').database.url == url


def test_a_secret_of_the_environment_may_hold_any_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "p@ss/w:rd$HOME")
    url = make_url(filled_url("postgresql://user:$SECRET@host:5432/d", "database.url"))
    assert (url.username, url.password, url.host) == ("user", "p@ss/w:rd$HOME", "host")
    with pytest.raises(ConfigError, match="NOT_SET_HERE is not set"):
        filled_url("postgresql://user:$NOT_SET_HERE@host/d", "database.url")


def test_the_memory_is_divided_among_the_tasks_that_airflow_runs_at_once() -> None:
    assert f"\nparallelism = {TASKS}\n" in (ROOT / "airflow.cfg").read_text()
