"""`barometer config check`: finds what is missing or odd in a company's configuration before anything runs.

It uses the readers, views, queries, suites and training set of a run, on one week, and writes nothing to the warehouse.
The entry point is `check_config`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from pipeline.duck import connection, quoted
from pipeline.errors import BarometerError, ConfigError
from pipeline.manifests import SourcesManifest
from pipeline.onboarding.check_queries import query_findings, words_of
from pipeline.onboarding.check_sources import read_each, source_findings
from pipeline.onboarding.findings import Finding, refusal, remark
from pipeline.point_in_time.source_views import create_raw_views
from pipeline.settings import Settings, load
from pipeline.sources.week_sources import is_delivered
from pipeline.validation.suites import load_suite, refuse_stray_suites
from pipeline.weeks import Week

YEARS_BACK = 20
SOURCE_PARAMETERS = {"week_start": None, "cutoff": None, "recent_rows": None}


def check_config(
    settings: Settings, week: Week | None, environ: Mapping[str, str], on_progress: Callable[[str], None]
) -> list[Finding]:
    """Return what is missing or odd, in the order of a run, in the given week or else in the last week in the data.

    The settings were loaded from `environ`. `on_progress` is called with a line about each step.
    """
    findings = [*_profile_findings(settings, environ), *_suite_findings(settings)]
    last = Week.last_complete(datetime.now(UTC), settings.zone)
    week = week or _last_delivered(settings, last)
    on_progress(f"Reading the sources for {week or last}")
    manifest, refused = read_each(settings, week or last)
    findings += [*refused, *source_findings(settings, manifest)]
    if len(manifest.sources) < len(settings.sources):
        return [*findings, remark("features.sql", "was not checked, because not every source could be read.")]
    week = week or min(_last_dated(settings, manifest) or last, last)
    return [*findings, *query_findings(settings, week, manifest, on_progress)]


def _profile_findings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Load every profile, since a run loads only its own."""
    for profile in load(environ).profiles:
        try:
            load({**environ, "BAROMETER_CONFIG": str(settings.config_file), "BAROMETER_PROFILE": profile})
        except BarometerError as error:
            yield refusal(f"[profile.{profile}]", error)


def _suite_findings(settings: Settings) -> Iterator[Finding]:
    """Check the sources' suites. Those of features and predictions are checked with the features' columns."""
    try:
        refuse_stray_suites(settings)
    except ConfigError as error:
        yield refusal("expectations", error)
    for name, source in settings.sources.items():
        files = [settings.expectations / f"sources/{kind}{name}.json" for kind in ("", "whole/")]
        if not any(file.exists() for file in files):
            yield remark(f"source {name}", "has no suite.", f"write {files[0]}, so that a broken feed is stopped.")
        for file in filter(lambda file: file.exists(), files):
            try:
                load_suite(f"sources/{name}", file, list(source.columns), SOURCE_PARAMETERS)
            except ConfigError as error:
                yield refusal(f"source {name}", error)


def _last_delivered(settings: Settings, last: Week) -> Week | None:
    """Return the last week with all its files; None if no source has a file for each week."""
    by_week = {name: source for name, source in settings.sources.items() if source.lookback_weeks is not None}
    if not by_week:
        return None
    narrowed = settings.model_copy(update={"sources": by_week})
    weeks = (last.plus(-back) for back in range(52 * YEARS_BACK))
    return next((week for week in weeks if is_delivered(narrowed, week)), None)


def _last_dated(settings: Settings, manifest: SourcesManifest) -> Week | None:
    """Return the last week of the times of the sources that features.sql uses; times in the future do not count."""
    times = {name: source.event_time for name, source in settings.sources.items() if source.event_time}
    used = times.keys() & words_of(settings.features_sql)
    times = {name: time for name, time in times.items() if name in used or not used}
    if not times:
        return None
    rows = [
        f"SELECT CAST({quoted(time)} AS TIMESTAMPTZ) AS time FROM raw.{quoted(name)}" for name, time in times.items()
    ]
    with connection(settings) as con:
        create_raw_views(con, manifest)
        latest = con.execute(f"SELECT max(time) FROM ({' UNION ALL '.join(rows)}) WHERE time < now()").fetchall()[0][0]
    return Week.containing(latest, settings.zone) if latest else None
