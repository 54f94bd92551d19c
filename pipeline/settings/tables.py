"""The tables of `pipeline.toml` about data and machines: sources, paths, database, budget, resources, services."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.settings.base import Fraction, Identifier, Table, ZoneName, is_column_type


class Column(Table):
    """A declared column of a source; in TOML either a type or a table with these keys."""

    type: Annotated[str, AfterValidator(is_column_type)]
    known_at: str | None = None
    """The column that says when this cell became known; before the cutoff it is NULL to `features.sql`."""


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Source(Table):
    """A raw input: files under `path`, or the rows of `table` or `query` behind `url` or `connection`."""

    path: str | None = None
    """A file, relative to the landing zone, or any fsspec URI; may hold `{week}` and shell wildcards."""
    url: str | None = None
    """A SQLAlchemy URL; `$NAME` is taken from the environment."""
    connection: str | None = None
    """Instead of `url`, the id of a connection that Airflow knows."""
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
    decimal_separator: Annotated[str, Field(pattern=r"^[^\d\s+-]$")] = "."
    thousands_separator: Annotated[str, Field(pattern=r"^[^\d+-]?$")] = ""
    """In numbers that are text, groups of three digits may be apart by this; empty: they are not."""
    timestamp_format: str | None = None
    """strptime format of timestamps; ISO 8601 when not given."""
    date_format: str | None = None
    reject_rows: NonNegativeInt = 0
    """Error budget: so many new rejects are accepted …"""
    reject_fraction: Fraction = 0.0
    """… or this fraction of the lines of the files they stand in, whichever is more."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if [self.path, self.url, self.connection].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ValueError("give either path or url or connection")
        if self.path is None and (self.table is None) == (self.query is None):
            raise ValueError("with url or connection, give either table or query")
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
    """Where things are, relative to the configuration file."""

    landing: str = "{home}/landing"
    features_sql: str = "sql/features.sql"
    labels_sql: str = "sql/labels.sql"
    expectations: str = "expectations"


class Database(Table):
    """The PostgreSQL server; embedded unless `url` names another."""

    url: str | None = None
    """postgresql://user:password@host:port, whose user may create the three databases or finds them made."""
    prefix: Identifier = "barometer"
    """The databases are `<prefix>_warehouse`, `<prefix>_airflow`, `<prefix>_mlflow`."""
    port: NonNegativeInt = 0
    """TCP port of the embedded server on 127.0.0.1; 0 takes a free one and keeps it."""
    run_as: str = "nobody"
    """The user the embedded server runs as when Barometer runs as root (PostgreSQL refuses to be root)."""


class Budget(Table):
    """How many subjects may be quarantined before the run stops; whichever is more counts."""

    quarantine_rows: NonNegativeInt = 0
    quarantine_fraction: Fraction = 0.01


class Resources(Table):
    """Bounds of one process."""

    duckdb_memory: str = "600MB"
    duckdb_threads: PositiveInt = 2
    shard_rows: PositiveInt = 250_000
    """Aim for the rows of a shard; a shard is a task, so it should be worth some seconds."""
    batch_rows: PositiveInt = 16_384


class Services(Table):
    """Ports of `make up` on 127.0.0.1; the service's own is in `[service]`."""

    airflow_port: PositiveInt = 8080
    mlflow_port: PositiveInt = 5000
