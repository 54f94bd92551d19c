"""Reads each source by itself and finds what is odd about its rows. A part of `pipeline.onboarding.check_config`.

The entry points are `read_each` and `source_findings`.
"""

from collections import Counter
from collections.abc import Iterator

import duckdb

from pipeline.duck import connection, quoted
from pipeline.errors import BarometerError
from pipeline.manifests import KEYS, SourceRead, SourcesManifest
from pipeline.onboarding.findings import Finding, problem, refusal, remark
from pipeline.point_in_time.source_views import create_raw_views
from pipeline.settings import Settings
from pipeline.sources.week_sources import first_reasons, read_sources
from pipeline.validation.budgets import allowed_rejects
from pipeline.weeks import Week

FEW = 0.01
"""Up to this fraction, nulls in a key are normal in real feeds. Above it, something is wrong."""


def read_each(settings: Settings, week: Week) -> tuple[SourcesManifest, list[Finding]]:
    """Return the sources that can be read for the week, and why the others cannot be read."""
    sources: dict[str, SourceRead] = {}
    findings = []
    for name, source in settings.sources.items():
        try:
            sources |= read_sources(settings.model_copy(update={"sources": {name: source}}), week).sources
        except BarometerError as error:
            findings.append(refusal(f"source {name}", error))
    return SourcesManifest(week=str(week), sources=sources), findings


def source_findings(settings: Settings, manifest: SourcesManifest) -> Iterator[Finding]:
    """Yield findings about the sources that were read."""
    shared = Counter(column for source in settings.sources.values() for column in source.columns)
    keys = {*KEYS} | {column for column, sources in shared.items() if sources > 1}
    with connection(settings) as con:
        create_raw_views(con, manifest)
        for name, read in manifest.sources.items():
            yield from _read_findings(settings, name, read)
            if read.rows:
                yield from _row_findings(con, settings, name, keys)
    yield from _type_findings(settings, keys)


def _read_findings(settings: Settings, name: str, read: SourceRead) -> Iterator[Finding]:
    about = f"source {name}"
    if read.timeless:
        yield remark(
            about,
            "has no times, so every week sees it as it is today, and a past week may see what came later.",
            "declare event_time or arrived_at if its rows have one.",
        )
    if read.undeclared_columns:
        columns = ", ".join(read.undeclared_columns)
        yield remark(about, f"has undeclared columns, which are not read: {columns}.", "declare those that you need.")
    if not read.rows:
        yield remark(about, "has no row.", "check that the file is the right one.")
    if read.rejects:
        lines, allowed = allowed_rejects(settings.sources[name], read)
        found = (
            f"{read.rejects} of {lines} lines cannot be read, for example {'; '.join(first_reasons(settings, read))}."
        )
        if read.rejects > allowed:
            yield problem(about, found, f"correct its declaration or the file; its budget is {allowed} (reject_rows).")
        else:
            yield remark(about, found)


def _row_findings(con: duckdb.DuckDBPyConnection, settings: Settings, name: str, keys: set[str]) -> Iterator[Finding]:
    source = settings.sources[name]
    about = f"source {name}"
    columns = list(source.columns)
    counted = ", ".join(f"count({quoted(column)})" for column in columns)
    rows, *filled = con.execute(f"SELECT count(*), {counted} FROM raw.{quoted(name)}").fetchall()[0]
    for column, values in zip(columns, filled, strict=True):
        missing = rows - values
        if column in keys and missing:
            found = (
                f"the key {column} is empty in {missing:,} of {rows:,} rows, which belong to no customer or product."
            )
            severity = problem if missing > FEW * rows else remark
            yield severity(about, found, "find out what these rows are, or leave them out in the SQL.")
        elif column == source.event_time and missing:
            yield remark(about, f"{missing:,} of {rows:,} rows have no {column}, so no week sees them.")
        elif not values:
            yield remark(about, f"the column {column} is empty in every row.", "check its name and `null_values`.")
    for column in keys & {column for column, declared in source.columns.items() if declared.type == "text"}:
        name_ = quoted(column)
        spaced = con.execute(f"SELECT count(*) FROM raw.{quoted(name)} WHERE {name_} <> trim({name_})").fetchall()[0][0]
        if spaced:
            yield remark(about, f"{spaced:,} values of {column} have spaces around them.", f"use trim({column}).")
    if source.event_time:
        yield from _future_findings(con, name, source.event_time)


def _future_findings(con: duckdb.DuckDBPyConnection, name: str, time: str) -> Iterator[Finding]:
    later, latest = con.execute(
        f"SELECT count(*), CAST(max({quoted(time)}) AS VARCHAR) FROM raw.{quoted(name)} "
        f"WHERE CAST({quoted(time)} AS TIMESTAMPTZ) > now()"
    ).fetchall()[0]
    if later:
        found = f"{later:,} rows have a {time} in the future, up to {latest}; they are hidden until then."
        yield remark(f"source {name}", found, "check the date format and the time zone.")


def _type_findings(settings: Settings, keys: set[str]) -> Iterator[Finding]:
    """Find keys that are text in one source and a number in another: leading zeros then make different keys."""
    for key in sorted(keys):
        types = {name: source.columns[key].type for name, source in settings.sources.items() if key in source.columns}
        if "text" in types.values() and "integer" in types.values():
            kinds = ", ".join(f"{kind} in {name}" for name, kind in types.items())
            yield remark(
                f"column {key}",
                f"is {kinds}, so 007 and 7 are one key in one source and two in another.",
                "declare keys as text.",
            )
