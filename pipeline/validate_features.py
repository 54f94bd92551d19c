"""Validate features: what the suite `expectations/features.json` and plain sense demand of a week's snapshot.

The third look at the data, after the features are made and before they are scored. A failing critical row-level
expectation quarantines its subjects; a failing critical table-level one, or more quarantined subjects than the error
budget, stops the run, after the evidence was committed.

The one entry point is `validate_features`.
"""

from pipeline.duck import connection
from pipeline.errors import BudgetError
from pipeline.handoffs import FeaturesValidated, Plan, Snapshot
from pipeline.manifests import SnapshotManifest
from pipeline.settings import Settings
from pipeline.validation.data_docs import run_page
from pipeline.validation.gx import Result, validate
from pipeline.validation.quarantine import KEYS, Failure, built_in_failures, create_view, write_quarantine
from pipeline.validation.suites import load_suite, week_parameters
from pipeline.validation.verdicts import counts, record, stop_on


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
    path = plan.folder / "quarantine.parquet"
    with connection(settings) as con:
        columns = create_view(con, manifest, files)
        file = settings.expectations / "features.json"
        suite = load_suite("features", file, columns, week_parameters(settings, plan))
        evaluated = validate(con, "features", suite, timezone=settings.timezone, index=KEYS)
        results, failures = built_in_failures(con, manifest)
        failures += [_failure(result, query) for result, query in evaluated.queries if result.stops]
        quarantined = write_quarantine(con, manifest, files, failures, path)
    results += evaluated.results
    record_quarantine(settings, plan, snapshot.manifest, path)
    record(settings, plan, "validate_features", results, {"features": evaluated.sections})
    about_rows = [failure.result for failure in failures]
    stop_on(
        [result for result in results if result.stops and result not in about_rows],
        settings,
        plan,
        about="the features",
    )
    _check_budget(settings, plan, quarantined, snapshot.subjects)
    return FeaturesValidated(quarantine=path, quarantined=quarantined, **counts(results))


def _failure(result: Result, query: str) -> Failure:
    return Failure(result, query, ["value"] if len(result.columns) == 1 else result.columns)


def _check_budget(settings: Settings, plan: Plan, quarantined: int, subjects: int) -> None:
    budget = settings.budget
    allowed = max(budget.quarantine_rows, budget.quarantine_fraction * subjects)
    if quarantined > allowed:
        raise BudgetError(
            found=f"{quarantined} of the {subjects} subjects of {plan.week} are quarantined. The reasons are in the "
            f"table quarantine under run {plan.run_id}, and in {settings.site / run_page(plan.run_id)}.",
            expected=f"at most {int(allowed)}, the larger of quarantine_rows = {budget.quarantine_rows} and "
            f"quarantine_fraction = {budget.quarantine_fraction:g} of the subjects.",
            do="mend the data, features.sql or the suite, or raise the [budget]; then run the week again. What was "
            "published before still stands.",
        )
