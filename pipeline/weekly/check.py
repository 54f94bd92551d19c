"""Check, the seventh stage: the last look at a run's predictions before they are published.

It checks that
- every shard was scored exactly once, and its file is the one that was handed over;
- subjects = predictions + quarantined, each exactly once, counted in the files themselves;
- each row was scored by the model that its customer is routed to;
- the suite `expectations/predictions.json` holds.

Shadow scores are checked in the same way. If the challenger could not score, or its scores are not
probabilities, that is a warning, and the week is published without shadow scores. The entry point
is `check`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import duckdb

from pipeline.duck import connection, parquet
from pipeline.errors import ConservationError, ExpectationError
from pipeline.manifests import KEYS, SnapshotManifest
from pipeline.models.predictions import Scored, check_file, check_roles, whole_parts
from pipeline.settings import Settings
from pipeline.validation.conservation import check_conserved
from pipeline.validation.gx import Result, validate
from pipeline.validation.suites import load_suite, week_parameters
from pipeline.validation.verdicts import counts, stop_on, write_verdict
from pipeline.warehouse.runs import committed_before_stop
from pipeline.weekly.handoffs import Checked, FeaturesValidated, Plan, Snapshot
from pipeline.weeks import Week


def check(
    settings: Settings, plan: Plan, snapshot: Snapshot, features_validated: FeaturesValidated, scored: Sequence[Scored]
) -> Checked:
    """Check a run's predictions as a whole.

    Raises
    ------
    ConservationError
        If a shard or a subject is missing, is there twice or is unknown, if a file is not what was
        handed over, or if a row was scored by another model than its customer's.
    ExpectationError
        If a satisfaction is not between 0 and 1, or a critical expectation fails.
    """
    manifest = SnapshotManifest.read(snapshot.manifest)
    parts = whole_parts(manifest, scored)
    files = [part.file for part in parts]
    with connection(settings) as con:
        conserved = partial(
            check_conserved,
            con,
            shards=[snapshot.manifest.parent / shard.file for shard in manifest.shards],
            quarantine=features_validated.quarantine,
            subjects=manifest.subjects,
            quarantined=features_validated.quarantined,
        )
        if outside := _rows_outside(con, plan, "predictions", files):
            raise ExpectationError(
                f"{outside} predictions of the run {plan.run_id} have no satisfaction between 0 and 1.",
                f"a satisfaction from 0 to 1 for every row, by the model version {plan.model_version}.",
                "run the week with another model version; this one must not be used.",
            )
        check_roles(plan, plan.run_id, files)
        predicted = conserved(parts=files)
        shadow_files, results = _shadow(con, plan, parts, conserved)
        columns = [row[0] for row in con.execute("DESCRIBE predictions").fetchall()]
        file = settings.expectations / "predictions.json"
        suite = load_suite("predictions", file, columns, week_parameters(Week.parse(plan.week), settings.zone))
        evaluated = validate(con, "predictions", suite, timezone=settings.timezone, index=KEYS)
    results += evaluated.results
    sections = {"predictions": evaluated.sections}
    so_far = write_verdict(settings, plan.run_id, plan.folder, stage="check", results=results, sections=sections)
    with committed_before_stop(settings, plan.run_id, validation=so_far):
        stop_on([result for result in results if result.stops], settings, plan.run_id, about="the predictions")
    return Checked(
        files=files,
        shadow_files=shadow_files,
        predicted=predicted,
        quarantined=features_validated.quarantined,
        **counts(results),
    )


def _rows_outside(con: duckdb.DuckDBPyConnection, plan: Plan, name: str, files: Sequence[Path]) -> int:
    """Make a view of the files and return how many of its rows hold no probability; refuse rows of another run."""
    con.execute(f"CREATE VIEW {name} AS FROM {parquet(*files)}")
    strange, outside = con.execute(
        f"""
        SELECT
            count(*) FILTER (week IS DISTINCT FROM $week::DATE OR run_id IS DISTINCT FROM $run_id),
            -- NaN is greater than every number to DuckDB.
            count(*) FILTER (NOT coalesce(satisfaction BETWEEN 0 AND 1, false) OR likely_satisfied IS NULL)
        FROM {name}
        """,
        {"week": plan.week, "run_id": plan.run_id},
    ).fetchone() or (0, 0)
    if strange:
        raise ConservationError(
            f"{strange} {name} are not of the run {plan.run_id}.",
            f"only predictions of {plan.run_id} for the week {plan.week}.",
            "run the week again; if it happens twice, the stage that wrote the files has a bug: report it with the "
            "run's id.",
        )
    return int(outside)


def _shadow(
    con: duckdb.DuckDBPyConnection, plan: Plan, parts: Sequence[Scored], conserved: Callable[..., int]
) -> tuple[list[Path], list[Result]]:
    """Return the files of the shadow scores, or none if any is unusable, and the check's result."""
    if plan.routing.mode != "shadow":
        return [], []
    shadows = [(part.shard, part.shadow) for part in parts if part.shadow]
    failure = next((f"in shard {part.shard}: {part.shadow_failure}" for part in parts if not part.shadow), None)
    files = [shadow.file for _, shadow in shadows]
    if failure is None:
        for shard, shadow in shadows:
            check_file(shard, shadow)
        if outside := _rows_outside(con, plan, "shadow_predictions", files):
            failure = f"{outside} rows have no satisfaction between 0 and 1"
        else:
            conserved(parts=files)
    result = Result(
        suite="shadow",
        type="challenger_scores_everybody",
        status="failed" if failure else "passed",
        observed=failure or "it did",
        expected="a satisfaction from 0 to 1 for every subject that is served; without, the week has no shadow scores",
    )
    return [] if failure else files, [result]
