"""Collect, the second stage of a training: past weeks' features, each as of its own cutoff, joined with their labels.

The features of a week come from the same `features.sql`, through the same views, as in the weekly run: there is no
second definition of a feature. The labels are those known by the training's cutoff. The entry point is `collect`.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.duck import connection, literal, parquet, quoted
from pipeline.errors import FeatureError, SourceError, WeekError
from pipeline.features import build_snapshot
from pipeline.files import sha256_of_file, sha256_of_text
from pipeline.handoffs import TrainingPlan, TrainingSet
from pipeline.ingest import read_sources
from pipeline.manifests import FeatureColumn, SnapshotManifest, SourcesManifest, TrainingSetManifest, TrainingWeek
from pipeline.point_in_time.labels import known_labels
from pipeline.readers.landing import locate
from pipeline.settings import Settings
from pipeline.training.training_set import LABEL
from pipeline.weeks import Week


def collect(settings: Settings, plan: TrainingPlan) -> TrainingSet:
    """Write the training set, one file for each week that has labels, and return where it is.

    Raises
    ------
    SourceError, FeatureError
        If a source cannot be read, or a query fails or breaks its contract.
    """
    folder = plan.folder / "set"
    shutil.rmtree(folder, ignore_errors=True)  # what an attempt before this one left
    folder.mkdir(parents=True)
    weeks = _weeks_with_sources(settings, [Week.parse(week) for week in plan.weeks])
    sources = _sources(settings, weeks[0], Week.parse(plan.as_of))
    labels = known_labels(settings, _all_of(list(sources.values())), plan.cutoff)
    collected = list(_collected(settings, plan, weeks, sources, labels))
    manifest = TrainingSetManifest(
        cutoff=plan.cutoff,
        columns=_same_columns([snapshot for snapshot, _ in collected]),
        features_sql_digest=collected[-1][0].sql_digest,
        labels_sql_digest=sha256_of_text(settings.labels_sql.read_text(encoding="utf-8")),
        weeks=[part for _, part in collected if part.rows],
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
    """Leave out the weeks before the company's first files; a gap after them is refused when it is read."""
    for index, week in enumerate(weeks[:-1]):
        if _is_delivered(settings, week):
            return weeks[index:]
    return weeks[-1:]


def _is_delivered(settings: Settings, week: Week) -> bool:
    try:
        return all(locate(settings, name, week) for name, source in settings.sources.items() if source.path)
    except SourceError:
        return False


def _sources(settings: Settings, first: Week, last: Week) -> dict[Week, SourcesManifest]:
    """Read every week's sources; those that do not come by the week once, so that all weeks see the same rows."""
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


def _all_of(manifests: list[SourcesManifest]) -> SourcesManifest:
    """Return all that several weeks read, each file once: an answer may come in a later week's file."""
    sources = {}
    for name, read in manifests[-1].sources.items():
        files = {file.parquet: file for manifest in manifests for file in manifest.sources[name].files}
        sources[name] = read.model_copy(update={"files": list(files.values())})
    return SourcesManifest(week=manifests[-1].week, sources=sources)


def _collected(
    settings: Settings, plan: TrainingPlan, weeks: list[Week], sources: dict[Week, SourcesManifest], labels: pa.Table
) -> Iterator[tuple[SnapshotManifest, TrainingWeek]]:
    """Yield each week's snapshot, which is gone again afterwards, and its part of the training set."""
    folder = plan.folder / "snapshot"
    has_begun = False
    for week in weeks:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            snapshot = SnapshotManifest.read(build_snapshot(settings, week, sources[week], folder))
        except WeekError:  # it has no subject: before the first one that has, the company was not there yet
            if has_begun or week == weeks[-1]:
                raise
            continue
        has_begun = True
        yield snapshot, _join(settings, folder, snapshot, labels, plan.folder / "set" / f"{week}.parquet")
    shutil.rmtree(folder)


def _join(settings: Settings, folder: Path, snapshot: SnapshotManifest, labels: pa.Table, path: Path) -> TrainingWeek:
    """Write a week's subjects with a label; those that features.sql returns twice are left out, as in quarantine."""
    columns = ", ".join(
        f"s.{quoted(name)}" for name in ("customer_id", "product_id", *(c.name for c in snapshot.columns))
    )
    shards = parquet(*(folder / shard.file for shard in snapshot.shards))
    with connection(settings) as con:
        con.register("labels", labels)
        rows: pa.Table = con.sql(
            f"""
            SELECT {columns}, l.satisfied AS {quoted(LABEL)}
            FROM {shards} AS s
            JOIN labels AS l USING (customer_id, product_id)
            WHERE l.week = DATE {literal(snapshot.week)}
            QUALIFY count(*) OVER (PARTITION BY s.customer_id, s.product_id) = 1
            ORDER BY s.customer_id, s.product_id
            """
        ).to_arrow_table()
    pq.write_table(rows, path)
    satisfied = pc.sum(rows.column(LABEL)).as_py() or 0
    return TrainingWeek(
        week=snapshot.week, file=path.name, rows=rows.num_rows, satisfied=satisfied, digest=sha256_of_file(path)
    )


def _same_columns(snapshots: list[SnapshotManifest]) -> list[FeatureColumn]:
    for snapshot in snapshots:
        if snapshot.columns != snapshots[-1].columns:
            raise FeatureError(
                found=f"features.sql returns other columns for {snapshot.week} than for {snapshots[-1].week}.",
                expected="the same columns of the same kinds for every week.",
                do="name and cast the columns in features.sql instead of taking what the sources hold.",
            )
    return snapshots[-1].columns
