"""The configuration: `pipeline.toml`, overridden by environment variables, checked as a whole before anything runs.

`BAROMETER_CONFIG` names the file (default: `pipeline.toml` in the working directory or beside the package), paths in
it are relative to its folder. `BAROMETER_HOME` names the folder for all state. Any setting can be overridden:
`BAROMETER__BUDGET__QUARANTINE_ROWS=50` sets `quarantine_rows` in `[budget]`; values are read as TOML where they
parse as such, else as text.

The one entry point is `load_settings`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from pipeline.errors import ConfigError

ROOT = Path(__file__).absolute().parent.parent
"""The checkout: what is not in the package (`dags/`, `sql/`, `airflow.cfg`) lies here."""
ENV_PREFIX = "BAROMETER__"
COLUMN_TYPE = re.compile(r"text|integer|number|boolean|date|timestamp|decimal\(\d{1,2}, ?\d{1,2}\)")
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


def load_settings(environ: Mapping[str, str] = os.environ) -> "Settings":
    """Return the settings that the configuration file and `environ` give.

    Raises
    ------
    ConfigError
        If the file is absent or no TOML, or a value is unknown, missing or not of its type.
    """
    path = config_path(environ)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            found=f"There is no configuration file {path}.",
            expected="a pipeline.toml.",
            do="run from the folder that holds it, or name it in BAROMETER_CONFIG.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            found=f"{path} cannot be read as TOML: {error}.",
            expected="a valid TOML file in UTF-8.",
            do="mend the line that is named.",
        ) from None
    _overlay(values, environ)
    home = Path(environ.get("BAROMETER_HOME") or path.parent / ".barometer").absolute()
    try:
        return Settings.model_validate({**values, "config_file": path, "home": home})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            found=f"{path} is not valid: {problems}.",
            expected="the settings described in the comments of pipeline.toml.",
            do="correct the named settings (an environment variable BAROMETER__… overrides the file).",
        ) from None


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute path of the configuration file."""
    named = environ.get("BAROMETER_CONFIG")
    if named:
        return Path(named).absolute()
    here = Path("pipeline.toml").absolute()
    return here if here.exists() else ROOT / "pipeline.toml"


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX):
            continue
        *tables, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        table: Any = values
        for part in tables:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise ConfigError(
                found=f"The environment variable {name} names a setting inside {'.'.join(tables)}, which is a value.",
                expected="a table of pipeline.toml and a key of it, joined by two underscores.",
                do="correct the variable's name or unset it.",
            )
        table[key] = _toml_value(text)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; use a name such as Europe/Berlin") from None
    return name


def _is_column_type(name: str) -> str:
    if not COLUMN_TYPE.fullmatch(name):
        raise ValueError(
            f"{name!r} is no column type; use text, integer, number, decimal(p,s), boolean, date, timestamp"
        )
    return name


def _is_identifier(name: str) -> str:
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is no plain name; use lower-case letters, digits and underscores")
    return name


ZoneName = Annotated[str, AfterValidator(_is_zone)]
Identifier = Annotated[str, AfterValidator(_is_identifier)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Column(_Table):
    """A declared column of a source; in TOML either a type or a table with these keys."""

    type: Annotated[str, AfterValidator(_is_column_type)]
    known_at: str | None = None
    """The column that says when this cell became known; before the cutoff it is NULL to `features.sql`."""


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Source(_Table):
    """A raw input: files under `path`, or the rows of `table` or `query` behind `url`."""

    path: str | None = None
    """A file, relative to the landing zone, or any fsspec URI; may hold `{week}` and shell wildcards."""
    url: str | None = None
    """A SQLAlchemy URL; `$NAME` is taken from the environment."""
    table: str | None = None
    query: str | None = None
    format: Literal["csv", "jsonl", "parquet"] | None = None
    """Inferred from the file's name when not given (`.csv`, `.jsonl`, `.parquet`, each also with `.gz`)."""
    columns: dict[str, Annotated[Column, BeforeValidator(_column)]]
    timezone: ZoneName | None = None
    """Zone of timestamps that carry none; the company's when not given."""
    event_time: str | None = None
    """When a row's fact happened; rows at or after the cutoff are hidden from `features.sql`."""
    arrived_at: str | None = None
    """When a row arrived; rows at or after the cutoff are hidden too."""
    lookback_weeks: PositiveInt | None = None
    """With `{week}` in `path`: the week's own file and those of so many minus one weeks before."""
    delimiter: Annotated[str, Field(pattern=r"^[\t -!#-~]$")] = ","
    null_values: tuple[str, ...] = ("",)
    timestamp_format: str | None = None
    """strptime format of timestamps; ISO 8601 when not given."""
    date_format: str | None = None
    reject_rows: NonNegativeInt = 0
    """Error budget: so many new rejects are accepted …"""
    reject_fraction: Fraction = 0.0
    """… or this fraction of the lines of the files they stand in, whichever is more."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either path or url")
        if self.url is not None and (self.table is None) == (self.query is None):
            raise ValueError("with url, give either table or query")
        if (self.lookback_weeks is not None) != ("{week}" in (self.path or "")):
            raise ValueError("lookback_weeks goes with {week} in path")
        lowered = [name.lower() for name in self.columns]
        for column in self.columns:
            if column.startswith("__") or lowered.count(column.lower()) > 1:
                raise ValueError(
                    f"column {column!r}: a name may not start with __ nor differ from another only in case"
                )
        for name in (self.event_time, self.arrived_at, *(c.known_at for c in self.columns.values())):
            if name is not None and getattr(self.columns.get(name), "type", None) not in {"timestamp", "date"}:
                raise ValueError(f"{name!r} must be a declared column of type timestamp or date")
        return self


class Paths(_Table):
    """Where things are, relative to the configuration file."""

    landing: str = "{home}/landing"
    features_sql: str = "sql/features.sql"
    labels_sql: str = "sql/labels.sql"
    expectations: str = "expectations"


class Database(_Table):
    """The PostgreSQL server; embedded unless `url` names another."""

    url: str | None = None
    """postgresql://user:password@host:port, whose user may create the three databases or finds them made."""
    prefix: Identifier = "barometer"
    """The databases are `<prefix>_warehouse`, `<prefix>_airflow`, `<prefix>_mlflow`."""
    port: NonNegativeInt = 0
    """TCP port of the embedded server on 127.0.0.1; 0 takes a free one and keeps it."""
    run_as: str = "nobody"
    """The user the embedded server runs as when Barometer runs as root (PostgreSQL refuses to be root)."""


class Budget(_Table):
    """How many subjects may be quarantined before the run stops; whichever is more counts."""

    quarantine_rows: NonNegativeInt = 0
    quarantine_fraction: Fraction = 0.01


class Resources(_Table):
    """Bounds of one process."""

    duckdb_memory: str = "600MB"
    duckdb_threads: PositiveInt = 2
    shard_rows: PositiveInt = 250_000
    """Aim for the rows of a shard; a shard is a task, so it should be worth some seconds."""
    batch_rows: PositiveInt = 16_384


class Model(_Table):
    """The model: its name in the registry, the decision threshold, and training."""

    name: Identifier = "satisfaction"
    threshold: Fraction = 0.5
    """`likely_satisfied` is satisfaction at or above this."""
    training_weeks: PositiveInt = 12
    """How many past weeks a training set spans, the matured ones before the training cutoff."""
    maturity_weeks: NonNegativeInt = 4
    """A week counts for training when its labels had so many weeks to arrive."""
    validation_weeks: PositiveInt = 2
    test_weeks: PositiveInt = 2
    seed: NonNegativeInt = 7


class Services(_Table):
    """Addresses of `make up`, all on 127.0.0.1."""

    airflow_port: PositiveInt = 8080
    mlflow_port: PositiveInt = 5000
    pages_port: PositiveInt = 8090
    """Reports and Great Expectations' Data Docs."""


class Settings(_Table):
    """All settings; see the comments in `pipeline.toml`."""

    config_file: Path
    home: Path
    company: str = "Your company"
    timezone: ZoneName = "UTC"
    paths: Paths = Paths()
    sources: Annotated[dict[Identifier, Source], Field(min_length=1)]
    database: Database = Database()
    budget: Budget = Budget()
    resources: Resources = Resources()
    model: Model = Model()
    services: Services = Services()

    @property
    def zone(self) -> ZoneInfo:
        """The company's time zone."""
        return ZoneInfo(self.timezone)

    def path(self, text: str) -> Path:
        """Return a configured path, relative ones to the configuration file, `{home}` filled in."""
        return self.config_file.parent / text.replace("{home}", str(self.home))

    @property
    def landing(self) -> Path:
        """The landing zone."""
        return self.path(self.paths.landing)

    @property
    def site(self) -> Path:
        """The folder of pages for people: `reports/` and `data_docs/`."""
        return self.home / "site"

    @property
    def features_sql(self) -> Path:
        """The query that makes a week's features."""
        return self.path(self.paths.features_sql)

    @property
    def labels_sql(self) -> Path:
        """The query that makes labels."""
        return self.path(self.paths.labels_sql)

    @property
    def expectations(self) -> Path:
        """The folder of the suites."""
        return self.path(self.paths.expectations)

    def source_zone(self, name: str) -> ZoneInfo:
        """Return the zone of a source's timestamps that carry none."""
        return ZoneInfo(self.sources[name].timezone or self.timezone)
