"""Validate sources, the third stage: each source's rows against its suites, before they become features.

The suite `expectations/sources/<source>.json` sees the rows that the source dates into the week, or
all rows if it has no times. The suite `expectations/sources/whole/<source>.json` sees all rows that
were read. Both may compare the number of rows with `recent_rows`, the median of the weeks before: a
feed that is mostly empty, or doubled, then stops the run. The entry point is `validate_sources`.
"""

from collections.abc import Iterator

import duckdb

from pipeline.duck import connection, quoted
from pipeline.manifests import SourcesManifest
from pipeline.point_in_time.source_views import create_raw_views
from pipeline.settings import Settings
from pipeline.validation.gx import Evaluated, Result, validate
from pipeline.validation.suites import load_suite, refuse_stray_suites, week_parameters
from pipeline.validation.verdicts import counts, stop_on, write_verdict
from pipeline.warehouse.recent_weeks import RECENT_WEEKS, recent_rows
from pipeline.warehouse.runs import committed_before_stop, published_run
from pipeline.weekly.handoffs import Ingested, Plan, SourcesValidated
from pipeline.weeks import Week


def validate_sources(settings: Settings, plan: Plan, ingested: Ingested) -> SourcesValidated:
    """Validate the sources. If the snapshot is reused, the results of the run that made it are kept.

    Raises
    ------
    ConfigError
        If a suite is broken, or is for no source.
    ExpectationError
        If a critical expectation fails.
    """
    if ingested.manifest is None:
        results = _results_of_published_run(settings, plan)
        write_verdict(settings, plan.run_id, plan.folder, stage="validate_sources", results=results, sections={})
        return SourcesValidated(**counts(results))
    manifest = SourcesManifest.read(ingested.manifest)
    refuse_stray_suites(settings)
    week = Week.parse(plan.week)
    with connection(settings) as con:
        create_raw_views(con, manifest)
        evaluated = {
            suite: result for name in manifest.sources for suite, result in _evaluated(con, settings, week, name)
        }
    results = [result for suite in evaluated.values() for result in suite.results]
    sections = {name: suite.sections for name, suite in evaluated.items() if suite.sections}
    so_far = write_verdict(
        settings, plan.run_id, plan.folder, stage="validate_sources", results=results, sections=sections
    )
    with committed_before_stop(settings, plan.run_id, validation=so_far):
        stop_on([result for result in results if result.stops], settings, plan.run_id, about="the sources")
    return SourcesValidated(**counts(results))


def _results_of_published_run(settings: Settings, plan: Plan) -> list[Result]:
    published = published_run(settings, Week.parse(plan.week))
    rows = (published.validation if published else None) or []
    return [
        Result.model_validate({key: value for key, value in row.items() if key != "stage"})
        for row in rows
        if row["stage"] == "validate_sources"
    ]


def _evaluated(
    con: duckdb.DuckDBPyConnection, settings: Settings, week: Week, source: str
) -> Iterator[tuple[str, Evaluated]]:
    """Yield the name and the results of each of the source's suites."""
    conditions = {f"sources/{source}": _in_week(settings, week, source), f"sources/whole/{source}": ""}
    files = {name: settings.expectations / f"{name}.json" for name in conditions}
    for name, condition in conditions.items():
        if not files[name].exists():
            continue
        con.execute(f"CREATE OR REPLACE VIEW {quoted(source)} AS SELECT * FROM raw.{quoted(source)}{condition}")
        recent = _recent_rows(con, settings, week, source) if condition else recent_rows(settings, week, source)
        parameters = week_parameters(week, settings.zone) | {"recent_rows": recent}
        suite = load_suite(name, files[name], list(settings.sources[source].columns), parameters)
        yield name, validate(con, source, suite, timezone=settings.timezone)
    if not any(file.exists() for file in files.values()):
        name, expected = f"sources/{source}", "a suite, if you want the source to be validated"
        result = Result(suite=name, type="suite", status="skipped", observed="no suite", expected=expected)
        yield name, Evaluated(results=[result], sections="", queries=[])


def _in_week(settings: Settings, week: Week, source: str) -> str:
    time = _time_column(settings, source)
    if time is None:
        return ""
    start, cutoff = week.start(settings.zone), week.cutoff(settings.zone)
    return f" WHERE {time} >= TIMESTAMPTZ '{start.isoformat()}' AND {time} < TIMESTAMPTZ '{cutoff.isoformat()}'"


def _time_column(settings: Settings, source: str) -> str | None:
    declared = settings.sources[source]
    column = declared.event_time or declared.arrived_at
    return quoted(column) if column else None


def _recent_rows(con: duckdb.DuckDBPyConnection, settings: Settings, week: Week, source: str) -> float | None:
    """Return the median number of rows of the weeks before, None without history.

    It is counted in the rows that were read, if they have times and reach back. Else it comes from
    the record of published runs, which read as much each week.
    """
    time = _time_column(settings, source)
    lookback = settings.sources[source].lookback_weeks
    if time is None or lookback == 1:
        return recent_rows(settings, week, source)
    earliest = week.plus(-min(RECENT_WEEKS, (lookback or RECENT_WEEKS + 1) - 1))
    # Without lookback, the data may begin in the middle of its first week, so that week does not count.
    whole = "" if lookback else f"AND date_trunc('week', {time}) > (SELECT date_trunc('week', min({time})) FROM rows)"
    row = con.execute(
        f"""
        WITH rows AS (SELECT {time} FROM raw.{quoted(source)})
        SELECT median(number) FROM (
            SELECT count(*) AS number FROM rows WHERE {time} >= $earliest AND {time} < $start {whole}
            GROUP BY date_trunc('week', {time})
        )
        """,
        {"earliest": earliest.start(settings.zone), "start": week.start(settings.zone)},
    ).fetchone()
    return None if row is None or row[0] is None else float(row[0])
