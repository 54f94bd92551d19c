"""Validate features: what the suite `expectations/features.json` and plain sense demand of a week's snapshot.

The third look at the data, after the features are made and before they are scored. A failing critical row-level
expectation quarantines its subjects; a failing critical table-level one, or more quarantined subjects than the error
budget, stops the run, after the evidence was committed. The suite may compare the number of subjects with
`recent_subjects`, the median of the weeks before.

The one entry point is `validate_features`.
"""

from pipeline.manifests import SnapshotManifest
from pipeline.settings import Settings
from pipeline.validation.budgets import check_quarantined
from pipeline.validation.quarantine import examine
from pipeline.validation.suites import week_parameters
from pipeline.validation.verdicts import counts, stop_on, write_verdict
from pipeline.warehouse.recent_weeks import recent_subjects
from pipeline.warehouse.runs import committed_before_stop
from pipeline.weekly.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.weeks import Week


def validate_features(settings: Settings, plan: Plan, snapshot: Snapshot) -> FeaturesValidated:
    """Validate the snapshot and say which subjects are kept out.

    Raises
    ------
    ConfigError
        If the suite is absent or broken.
    ExpectationError
        If a critical expectation on the table as a whole fails.
    BudgetError
        If more subjects are quarantined than the error budget allows.
    ConservationError
        If a shard is not the file that was written.
    """
    from pipeline.warehouse.evidence import record_quarantine

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
