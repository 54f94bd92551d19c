"""The sources as SQL sees them: views that hide what was not known by the cutoff, so that no SQL can leak the future.

They lie between the rows that were read and every SQL that a company writes. The rules:

- A row is hidden if its `event_time` or `arrived_at` is at or after the cutoff, or NULL (it has not happened yet).
- A cell of a column declared with `known_at = "other"` is NULL unless the time in `other` is before the cutoff; if that
  time is NULL, the cell is not known yet. The time in `other` is hidden in the same way, since it would reveal what is
  to come.
- A date has no hour, so it is past if its whole day, in the source's zone, is before the cutoff.

The entry points are `create_views` and, for checks of the sources themselves, `create_raw_views`.
"""

from datetime import datetime

import duckdb

from pipeline.duck import literal, parquet, quoted
from pipeline.manifests import SourceRead, SourcesManifest
from pipeline.settings import Settings, Source
from pipeline.sources.casts import REASON


def create_views(
    con: duckdb.DuckDBPyConnection, settings: Settings, manifest: SourcesManifest, cutoff: datetime
) -> None:
    """Create a view for each source, with its name, of what was known before `cutoff` (an instant with a zone)."""
    for name, read in manifest.sources.items():
        source = settings.sources[name]
        known = _Known(source, settings.source_zone(name).key, cutoff)
        cells = ", ".join(known.cell(column) for column in source.columns)
        con.execute(f"CREATE VIEW {quoted(name)} AS SELECT {cells} FROM {_rows(read)} WHERE {known.row()}")


def create_raw_views(con: duckdb.DuckDBPyConnection, manifest: SourcesManifest) -> None:
    """Create a view `raw.<source>` for each source, of all its good rows, the future included."""
    con.execute("CREATE SCHEMA raw")
    for name, read in manifest.sources.items():
        columns = "* EXCLUDE (__line, __reason, __raw)"
        con.execute(f"CREATE VIEW raw.{quoted(name)} AS SELECT {columns} FROM {_rows(read)} WHERE {REASON} IS NULL")


def _rows(read: SourceRead) -> str:
    return parquet(*(file.parquet for file in read.files))


class _Known:
    """The SQL conditions under which a source's rows and cells were known before the cutoff."""

    def __init__(self, source: Source, zone: str, cutoff: datetime) -> None:
        self._columns, self._zone = source.columns, zone
        self._cutoff = f"TIMESTAMPTZ {literal(cutoff.isoformat())}"
        self._row_times = [time for time in (source.event_time, source.arrived_at) if time is not None]
        self._cell_times = {column.known_at for column in source.columns.values()} - {None}

    def row(self) -> str:
        return " AND ".join([f"{REASON} IS NULL", *map(self._is_past, self._row_times)])

    def cell(self, name: str) -> str:
        known_at = self._columns[name].known_at
        times = ({known_at} if known_at else set[str]()) | ({name} & self._cell_times)
        condition = " AND ".join(self._is_past(time) for time in sorted(times))
        return f"CASE WHEN {condition} THEN {quoted(name)} END AS {quoted(name)}" if times else quoted(name)

    def _is_past(self, time: str) -> str:
        if self._columns[time].type == "timestamp":
            return f"{quoted(time)} < {self._cutoff}"
        next_day = f"CAST({quoted(time)} + 1 AS TIMESTAMP)"
        return f"timezone({literal(self._zone)}, {next_day}) <= {self._cutoff}"
