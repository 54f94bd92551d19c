"""The sources of several past weeks: for whoever looks back, as training and the comparison of models do.

Beside the data's way, which reads one week's sources at a time. Entry points: `is_delivered`, `read_past_sources` and
`together`.
"""

from pipeline.errors import SourceError
from pipeline.manifests import SourcesManifest
from pipeline.settings import Settings
from pipeline.sources.landing import locate
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week


def is_delivered(settings: Settings, week: Week) -> bool:
    """Return whether every file of the week is there."""
    try:
        return all(locate(settings, name, week) for name, source in settings.sources.items() if source.path)
    except SourceError:
        return False


def read_past_sources(settings: Settings, first: Week, last: Week) -> dict[Week, SourcesManifest]:
    """Read every week's sources; those that do not come by the week once, so that all weeks see the same rows.

    Raises
    ------
    SourceError
        If a source is absent, unreadable or not as declared.
    """
    by_week = {name: source for name, source in settings.sources.items() if source.lookback_weeks is not None}
    narrowed = settings.model_copy(update={"sources": by_week})
    whole = read_sources(settings, last).sources
    weeks = [first]
    while weeks[-1] < last:
        weeks.append(weeks[-1].plus(1))
    return {
        week: SourcesManifest(week=str(week), sources={**whole, **read_sources(narrowed, week).sources})
        for week in weeks
    }


def together(manifests: list[SourcesManifest]) -> SourcesManifest:
    """Return all that several weeks read, each file once: an answer may come in a later week's file."""
    sources = {}
    for name, read in manifests[-1].sources.items():
        files = {file.parquet: file for manifest in manifests for file in manifest.sources[name].files}
        sources[name] = read.model_copy(update={"files": list(files.values())})
    return SourcesManifest(week=manifests[-1].week, sources=sources)
