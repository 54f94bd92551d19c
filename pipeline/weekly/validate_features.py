"""Validate features, the fifth stage: the snapshot against its suite and built-in checks.

A critical expectation on rows quarantines the subjects that fail it. A failing critical expectation
on the whole table stops the run, and so do more quarantined subjects than the error budget allows;
the evidence is committed first. The suite may compare the number of subjects with
`recent_subjects`, the median of the weeks before. The entry point is `validate_features`.
"""

from pipeline.manifests import SnapshotManifest
from pipeline.settings import Settings
from pipeline.validation.budgets import check_quarantined
from pipeline.validation.quarantine import examine
from pipeline.validation.suites import week_parameters
from pipeline.validation.verdicts import counts, stop_on, write_verdict
from pipeline.warehouse.evidence import record_quarantine
from pipeline.warehouse.recent_weeks import recent_subjects
from pipeline.warehouse.runs import committed_before_stop
from pipeline.weekly.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.weeks import Week


def validate_features(settings: Settings, plan: Plan, snapshot: Snapshot) -> FeaturesValidated:
    """Validate the snapshot and quarantine the subjects that fail.

    Raises
    ------
    ConfigError
        If the suite is absent or broken.
    ExpectationError
        If a critical expectation on the table as a whole fails.
    BudgetError
        If more subjects are quarantined than the error budget allows.
    ConservationError
        If a shard's file has changed.
    """
    manifest = SnapshotManifest.read(snapshot.manifest)
    files = manifest.checked_files(snapshot.manifest.parent)
    week = Week.parse(plan.week)
    path = plan.folder / "quarantine.parquet"
    parameters = week_parameters(week, settings.zone) | {"recent_subjects": recent_subjects(settings, week)}
    examined = examine(settings, manifest, files, parameters, path)
    record_quarantine(settings, plan.run_id, snapshot.manifest, path)
    sections = {"features": examined.sections}
    so_far = write_verdict(
        settings, plan.run_id, plan.folder, stage="validate_features", results=examined.results, sections=sections
    )
    on_the_table = [result for result in examined.results if result.stops and result not in examined.about_rows]
    counted = {"quarantined": examined.quarantined, "subjects": snapshot.subjects}
    with committed_before_stop(settings, plan.run_id, validation=so_far):
        stop_on(on_the_table, settings, plan.run_id, about="the features")
        check_quarantined(settings, plan.week, plan.run_id, **counted)
    return FeaturesValidated(quarantine=path, quarantined=examined.quarantined, **counts(examined.results))
