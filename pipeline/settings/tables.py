"""The tables of `pipeline.toml` about data and the machine: sources, paths, database, budget, resources, services."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.settings.base import Fraction, Identifier, Table, ZoneName, is_column_type


class Column(Table):
    """A declared column of a source: in TOML a type, or a table with these keys."""

    type: Annotated[str, AfterValidator(is_column_type)]
    known_at: str | None = None
    """The column with the time at which this cell became known. `features.sql` sees NULL until the cutoff is later."""


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Source(Table):
    """A raw input: files under `path`, or the rows of `table` or `query` at `url` or `connection`."""

    path: str | None = None
    """A file, relative to the landing zone, or any fsspec URI; may hold `{week}` and shell wildcards."""
    url: str | None = None
    """A SQLAlchemy URL; `$NAME` is replaced from the environment."""
    connection: str | None = None
    """Instead of `url`: the id of an Airflow connection."""
    table: str | None = None
    query: str | None = None
    format: Literal["csv", "jsonl", "parquet"] | None = None
    """By default taken from the file's name (`.csv`, `.jsonl`, `.parquet`, each also with `.gz`)."""
    columns: dict[str, Annotated[Column, BeforeValidator(_column)]]
    timezone: ZoneName | None = None
    """Zone of timestamps without one; by default the company's."""
    event_time: str | None = None
    """The column with the time of the event; rows at or after the cutoff are hidden from `features.sql`."""
    arrived_at: str | None = None
    """The column with the time of arrival; rows at or after the cutoff are hidden as well."""
    lookback_weeks: PositiveInt | None = None
    """With `{week}` in `path`: the number of weekly files to read, the week's own and those before it."""
    delimiter: Annotated[str, Field(pattern=r"^[\t -!#-~]$")] = ","
    null_values: tuple[str, ...] = ("",)
    decimal_separator: Annotated[str, Field(pattern=r"^[^\d\s+-]$")] = "."
    thousands_separator: Annotated[str, Field(pattern=r"^[^\d+-]?$")] = ""
    """Between groups of three digits in numbers that are text; empty if there is none."""
    timestamp_format: str | None = None
    """strptime format of timestamps; by default ISO 8601."""
    date_format: str | None = None
    reject_rows: NonNegativeInt = 0
    """Error budget: the number of new rejects that are accepted …"""
    reject_fraction: Fraction = 0.0
    """… or this fraction of the lines in the rejects' files, if that is more."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if [self.path, self.url, self.connection].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ValueError("give one of path, url and connection")
        if self.path is None and (self.table is None) == (self.query is None):
            raise ValueError("with url or connection, give one of table and query")
        if (self.lookback_weeks is not None) != ("{week}" in (self.path or "")):
            raise ValueError("lookback_weeks goes with {week} in path")
        if self.decimal_separator == self.thousands_separator:
            raise ValueError("decimal_separator and thousands_separator must differ")
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


class Paths(Table):
    """Paths, relative to the configuration file."""

    landing: str = "{home}/landing"
    features_sql: str = "sql/features.sql"
    labels_sql: str = "sql/labels.sql"
    expectations: str = "expectations"


class Database(Table):
    """The PostgreSQL server: the embedded one unless `url` names another."""

    url: str | None = None
    """postgresql://user:password@host:port. The user must be able to create the databases, unless they exist."""
    prefix: Identifier = "barometer"
    """The databases are `<prefix>_warehouse`, `<prefix>_airflow`, `<prefix>_mlflow`."""
    port: NonNegativeInt = 0
    """TCP port of the embedded server on 127.0.0.1; 0 chooses a free port and keeps it."""
    run_as: str = "nobody"
    """The user that runs the embedded server if Barometer runs as root, because PostgreSQL refuses to run as root."""


class Budget(Table):
    """How many subjects may be quarantined before the run stops; the larger of the two limits counts."""

    quarantine_rows: NonNegativeInt = 0
    quarantine_fraction: Fraction = 0.01


class Resources(Table):
    """Limits of one process; by default as `pipeline.duck` finds them."""

    duckdb_memory: str | None = None
    threads: PositiveInt | None = None
    shard_rows: PositiveInt = 1_000_000
    """Target number of rows in a shard. A shard is a task, and each task costs half a second."""
    batch_rows: PositiveInt = 65_536


class Services(Table):
    """Ports of `make up` on 127.0.0.1; the service's port is in `[service]`."""

    airflow_port: PositiveInt = 8080
    mlflow_port: PositiveInt = 5000
