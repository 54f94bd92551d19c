"""Collect, the second stage of a training: the features of past weeks, each as of its own cutoff, with their labels.

The features come from the same `features.sql`, through the same views, as in the weekly run: no
feature is defined twice. A week's snapshot that exists, of a weekly run or of an earlier training, is
used again if making it anew would give the same. The labels are those known by the training's cutoff.
`pipeline.training.cleaning` decides which rows train. The entry point is `collect`.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from pipeline.errors import FeatureError, WeekError
from pipeline.files import locked, sha256_of_text
from pipeline.manifests import (
    FeatureColumn,
    SnapshotManifest,
    SourcesManifest,
    TrainingSetManifest,
    TrainingWeek,
    WeekCleaning,
)
from pipeline.point_in_time.labels import known_labels
from pipeline.point_in_time.snapshot import build_snapshot, find_snapshot
from pipeline.settings import Settings
from pipeline.sources.week_sources import is_delivered, read_past_sources, together
from pipeline.training.cleaning import clean
from pipeline.training.handoffs import TrainingPlan, TrainingSet
from pipeline.weeks import Week


def collect(settings: Settings, plan: TrainingPlan) -> TrainingSet:
    """Write the training set, one file for each week with labels, and return where it is.

    Raises
    ------
    SourceError, FeatureError
        If a source cannot be read, or a query fails or breaks its contract.
    """
    folder = plan.folder / "set"
    shutil.rmtree(folder, ignore_errors=True)  # left by an earlier attempt
    folder.mkdir(parents=True)
    weeks = _weeks_with_sources(settings, [Week.parse(week) for week in plan.weeks])
    sources = read_past_sources(settings, weeks[0], Week.parse(plan.as_of))
    all_sources = together(list(sources.values()))
    labels, counts = known_labels(settings, all_sources, plan.cutoff)
    kept = settings.home / "collected"
    with locked(kept):  # one training collects at a time, so none deletes a snapshot that another reads
        collected = list(_collect_weeks(settings, plan, weeks, sources, labels))
        for other in set(kept.glob("*/*")) - {path.parent for path, _, _ in collected}:
            shutil.rmtree(other)
    snapshots = [SnapshotManifest.read(path) for path, _, _ in collected]
    manifest = TrainingSetManifest(
        cutoff=plan.cutoff,
        columns=_same_columns(snapshots),
        features_sql_digest=snapshots[-1].sql_digest,
        labels_sql_digest=sha256_of_text(settings.labels_sql.read_text(encoding="utf-8")),
        weeks=[part for _, part, _ in collected if part.rows],
        cleaning=[cleaning for _, _, cleaning in collected],
        labels=counts,
        sources=all_sources.sources,
    )
    manifest.write(folder / "manifest.json")
    return TrainingSet(
        manifest=folder / "manifest.json",
        digest=manifest.digest,
        weeks=len(manifest.weeks),
        rows=sum(week.rows for week in manifest.weeks),
        satisfied=sum(week.satisfied for week in manifest.weeks),
    )


def _weeks_with_sources(settings: Settings, weeks: list[Week]) -> list[Week]:
    """Leave out the weeks before the company's first files; reading refuses a gap after them."""
    for index, week in enumerate(weeks[:-1]):
        if is_delivered(settings, week):
            return weeks[index:]
    return weeks[-1:]


def _collect_weeks(
    settings: Settings, plan: TrainingPlan, weeks: list[Week], sources: dict[Week, SourcesManifest], labels: pa.Table
) -> Iterator[tuple[Path, TrainingWeek, WeekCleaning]]:
    """Yield the manifest of each week's snapshot, the week's part of the training set, and its cleaning."""
    has_begun = False
    for week in weeks:
        weekly, trainings = (settings.home / folder / str(week) for folder in ("snapshots", "collected"))
        made = [*weekly.glob("*/manifest.json"), *trainings.glob("*/manifest.json")]
        try:
            path = find_snapshot(settings, week, sources[week], made)
            path = path or build_snapshot(settings, week, sources[week], trainings / uuid4().hex[:12])
        except WeekError:  # the week has no subject; before the first subject, the company did not exist yet
            if has_begun or week == weeks[-1]:
                raise
            continue
        has_begun = True
        yield path, *clean(settings, path, labels, plan.folder / "set" / f"{week}.parquet")


def _same_columns(snapshots: list[SnapshotManifest]) -> list[FeatureColumn]:
    for snapshot in snapshots:
        if snapshot.columns != snapshots[-1].columns:
            raise FeatureError(
                f"features.sql returns other columns for {snapshot.week} than for {snapshots[-1].week}.",
                "the same columns of the same kinds for every week.",
                "name and cast the columns in features.sql instead of taking them from the sources as they are.",
            )
    return snapshots[-1].columns
