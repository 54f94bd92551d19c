"""Runs the company's SQL on its data: a week's features, the labels, and a training set of both.

A part of `pipeline.onboarding.check_config`, after the sources were read. The entry point is `query_findings`.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from pipeline.duck import connection, quoted
from pipeline.errors import BarometerError, FeatureError
from pipeline.manifests import SnapshotManifest, SourcesManifest, TrainingSetManifest
from pipeline.models.predictions import PREDICTIONS_SCHEMA
from pipeline.onboarding.findings import Finding, problem, refusal, remark
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.training.collect import collect
from pipeline.training.training_plan import plan_training
from pipeline.training.training_set import segments, split
from pipeline.validation.budgets import allowed_subjects
from pipeline.validation.quarantine import create_view, examine
from pipeline.validation.suites import load_suite, week_parameters
from pipeline.weeks import Week

_UNKNOWN_COLUMN = re.compile(
    r'(?:Referenced column|does not have a column named|Binder Error: Column) "(?P<name>[^"]+)"'
)
MOST_WITHOUT_ROW = 0.2
"""The fraction of labels whose subject features.sql may leave out before that is worth a remark."""


def query_findings(
    settings: Settings, week: Week, sources: SourcesManifest, on_progress: Callable[[str], None]
) -> Iterator[Finding]:
    """Yield findings about the SQL, the suites of features and predictions, and the training set."""
    folder = settings.home / "tmp" / f"check-{uuid4().hex}"
    on_progress(f"Making the features of {week}")
    try:
        snapshot = SnapshotManifest.read(build_snapshot(settings, week, sources, folder))
        yield from _feature_findings(settings, snapshot, folder)
    except BarometerError as error:
        yield _query_problem(sources, "features.sql", error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    on_progress(f"Collecting what a model would be trained on by the end of {week}")
    yield from _training_findings(settings, week, sources)
    yield from _unused_findings(settings)


def _query_problem(sources: SourcesManifest, about: str, error: BarometerError) -> Finding:
    unknown = _UNKNOWN_COLUMN.search(error.found)
    if not isinstance(error, FeatureError) or unknown is None:
        return refusal(about, error)
    name = unknown["name"]
    holders = [source for source, read in sources.sources.items() if name in read.undeclared_columns]
    declared = f"declare it in [sources.{holders[0]}.columns], whose file has it" if holders else "correct its name"
    found = f"uses the column {name}, which none of its sources declares."
    return problem(about, found, f"{declared}. DuckDB says: {' '.join(error.found.split())}")


def _feature_findings(settings: Settings, snapshot: SnapshotManifest, folder: Path) -> Iterator[Finding]:
    about = "features.sql"
    if twice := snapshot.rows - snapshot.subjects:
        yield problem(
            about,
            f"returns {twice:,} rows more than there are subjects in {snapshot.week}: some subjects are there twice, "
            "and would be kept out.",
            "group by customer_id and product_id, and join only tables with one row for each.",
        )
    files = snapshot.checked_files(folder)
    with connection(settings) as con:
        create_view(con, snapshot, files)
        for column in snapshot.names("number", "category"):
            values, rows = con.execute(
                f"SELECT count(DISTINCT {quoted(column)}), count({quoted(column)}) FROM features"
            ).fetchall()[0]
            if values <= 1:
                what = "is NULL in every row" if rows == 0 else "has the same value in every row"
                yield remark(about, f"the feature {column} {what} of {snapshot.week}.", "correct it or leave it out.")
            elif column in snapshot.names("category") and values > snapshot.subjects / 2:
                yield remark(
                    about,
                    f"the category {column} has {values:,} values for {snapshot.subjects:,} subjects.",
                    "if it is a name, call it info_….",
                )
    yield from _suite_findings(settings, snapshot, files, folder)


def _suite_findings(
    settings: Settings, snapshot: SnapshotManifest, files: list[Path], folder: Path
) -> Iterator[Finding]:
    parameters = week_parameters(Week.parse(snapshot.week), settings.zone) | {"recent_subjects": None}
    try:
        examined = examine(settings, snapshot, files, parameters, folder / "quarantine.parquet")
        load_suite("predictions", settings.expectations / "predictions.json", PREDICTIONS_SCHEMA.names, parameters)
    except BarometerError as error:
        yield refusal("expectations", error)
        return
    for result in examined.results:
        if result.status == "failed" and result not in examined.about_rows:
            severity = problem if result.stops else remark
            yield severity("features.json", f"{result.title} fails in {snapshot.week}: {result.observed}.", "")
    if examined.quarantined:
        failed = ", ".join(result.title for result in examined.about_rows)
        found = f"{examined.quarantined:,} of {snapshot.subjects:,} subjects would be kept out: {failed}."
        allowed = allowed_subjects(settings.budget, snapshot.subjects)
        severity = problem if examined.quarantined > allowed else remark
        yield severity(
            "features.json", found, f"correct the data, the SQL or the suite; the budget is {allowed:,} subjects."
        )


def _training_findings(settings: Settings, week: Week, sources: SourcesManifest) -> Iterator[Finding]:
    """Collect a training set as a training would, and yield findings about its labels."""
    folder = None
    try:
        plan = plan_training(settings, as_of=week, airflow_run_id="config check")
        folder = plan.folder
        manifest = TrainingSetManifest.read(collect(settings, plan).manifest)
        yield from _label_findings(manifest)
        segments(settings, manifest)
        if manifest.labels and manifest.labels.known:
            split(settings, manifest)
    except BarometerError as error:
        yield _query_problem(sources, "labels.sql" if "labels" in error.found else "training", error)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _label_findings(manifest: TrainingSetManifest) -> Iterator[Finding]:
    about = "labels.sql"
    counts = manifest.labels
    assert counts is not None
    if not counts.returned:
        yield problem(about, "returns no rows, so nothing can be learned.", "correct its condition or its source.")
    elif not counts.known:
        found = f"none of its {counts.returned:,} rows was observed before {manifest.cutoff:%Y-%m-%d %H:%M} UTC."
        yield problem(about, found, "check observed_at: when did the company know the answer?")
    labels = sum(week.labels for week in manifest.cleaning)
    without_row = sum(week.labels_without_row for week in manifest.cleaning)
    if labels and without_row > MOST_WITHOUT_ROW * labels:
        severity = problem if without_row == labels else remark
        found = (
            f"{without_row:,} of {labels:,} labels are about subjects that features.sql does not return for their week."
        )
        yield severity(about, found, "compare how the two queries write customer_id, product_id and week.")
    if counts.unanswered:
        yield remark(about, f"{counts.unanswered:,} of {counts.returned:,} rows have no answer (satisfied is NULL).")


def _unused_findings(settings: Settings) -> Iterator[Finding]:
    unused = settings.sources.keys() - words_of(settings.features_sql) - words_of(settings.labels_sql)
    for name in sorted(unused):
        yield remark(f"source {name}", "is read every week, but neither query uses it.", "remove it, or use it.")


def words_of(file: Path) -> set[str]:
    """Return the words of an SQL file without its comments. An unreadable file has none; it is reported elsewhere."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return set()
    return set(re.findall(r"\w+", re.sub(r"--.*", "", text).lower()))
