"""Validate features: what the suite `expectations/features.json` and plain sense demand of a week's snapshot.

The third look at the data, after the features are made and before they are scored. A failing critical row-level
expectation quarantines its subjects; a failing critical table-level one, or more quarantined subjects than the error
budget, stops the run, after the evidence was committed. The suite may compare the number of subjects with
`recent_subjects`, the median of the weeks before.

The one entry point is `validate_features`.
"""

from pipeline.errors import BudgetError
from pipeline.manifests import SnapshotManifest
from pipeline.settings import Settings
from pipeline.validation.budgets import allowed_subjects
from pipeline.validation.data_docs import run_page
from pipeline.validation.quarantine import examine
from pipeline.validation.suites import week_parameters
from pipeline.validation.verdicts import counts, record, stop_on
from pipeline.warehouse.recent_weeks import recent_subjects
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
    record(
        settings,
        plan.run_id,
        plan.folder,
        stage="validate_features",
        results=examined.results,
        sections={"features": examined.sections},
    )
    on_the_table = [result for result in examined.results if result.stops and result not in examined.about_rows]
    stop_on(on_the_table, settings, plan.run_id, about="the features")
    _check_budget(settings, plan, examined.quarantined, snapshot.subjects)
    return FeaturesValidated(quarantine=path, quarantined=examined.quarantined, **counts(examined.results))


def _check_budget(settings: Settings, plan: Plan, quarantined: int, subjects: int) -> None:
    budget = settings.budget
    allowed = allowed_subjects(settings, subjects)
    if quarantined > allowed:
        raise BudgetError(
            f"{quarantined} of the {subjects} subjects of {plan.week} are quarantined. The reasons are in the "
            f"table quarantine under run {plan.run_id}, and in {settings.site / run_page(plan.run_id)}.",
            f"at most {allowed}, the larger of quarantine_rows = {budget.quarantine_rows} and "
            f"quarantine_fraction = {budget.quarantine_fraction:g} of the subjects.",
            "mend the data, features.sql or the suite, or raise the [budget]; then run the week again. What was "
            "published before still stands.",
        )
