"""Check: the last look before publish. Nothing was lost, nothing was made up, and the predictions are as expected.

Every shard was scored exactly once and its file is the one that was handed over; subjects = predictions + quarantined,
each exactly once, counted from the files themselves; then the suite `expectations/predictions.json`. (Drift is to be
compared here, after the suite.)

The one entry point is `check`.
"""

from collections.abc import Sequence

import duckdb

from pipeline.duck import connection, parquet
from pipeline.errors import ConservationError, ExpectationError
from pipeline.files import sha256_of_file
from pipeline.handoffs import Checked, FeaturesValidated, Plan, Scored, Snapshot
from pipeline.manifests import SnapshotManifest
from pipeline.settings import Settings
from pipeline.validation.conservation import check_conserved
from pipeline.validation.gx import validate
from pipeline.validation.suites import load_suite, week_parameters
from pipeline.validation.verdicts import counts, record, stop_on

_AGAIN = (
    "run the week again; if it happens twice, the stage that wrote the files has a bug: report it with the run's id."
)


def check(
    settings: Settings,
    plan: Plan,
    snapshot: Snapshot,
    features_validated: FeaturesValidated,
    scored: Sequence[Scored],
) -> Checked:
    """Check a run's predictions as a whole.

    Raises
    ------
    ConservationError
        If a shard or a subject is missing, there twice or unknown, or a file is not what was handed over.
    ExpectationError
        If a satisfaction is not between 0 and 1, or a critical expectation fails.
    """
    manifest = SnapshotManifest.read(snapshot.manifest)
    parts = _whole_parts(manifest, scored)
    with connection(settings) as con:
        con.execute(f"CREATE VIEW predictions AS FROM {parquet(*(part.file for part in parts))}")
        _check_rows(con, plan)
        predicted = check_conserved(
            con,
            shards=[snapshot.manifest.parent / shard.file for shard in manifest.shards],
            parts=[part.file for part in parts],
            quarantine=features_validated.quarantine,
            subjects=manifest.subjects,
            quarantined=features_validated.quarantined,
        )
        columns = [row[0] for row in con.execute("DESCRIBE predictions").fetchall()]
        file = settings.expectations / "predictions.json"
        suite = load_suite("predictions", file, columns, week_parameters(settings, plan))
        evaluated = validate(con, "predictions", suite, timezone=settings.timezone, index=["customer_id", "product_id"])
    record(settings, plan, "check", evaluated.results, {"predictions": evaluated.sections})
    stop_on([result for result in evaluated.results if result.stops], settings, plan, about="the predictions")
    return Checked(
        files=[part.file for part in parts],
        predicted=predicted,
        quarantined=features_validated.quarantined,
        **counts(evaluated.results),
    )


def _whole_parts(manifest: SnapshotManifest, scored: Sequence[Scored]) -> list[Scored]:
    """Return the parts in the order of their shards, each there once and as it was written."""
    parts = sorted(scored, key=lambda part: part.shard)
    if [part.shard for part in parts] != list(range(len(manifest.shards))):
        raise ConservationError(
            found=f"The scored shards are {', '.join(str(part.shard) for part in parts) or 'none'}.",
            expected=f"each of the snapshot's {len(manifest.shards)} shards, from 0, exactly once.",
            do="clear the scoring tasks and let them run again.",
        )
    for part in parts:
        _check_file(part)
    return parts


def _check_file(part: Scored) -> None:
    try:
        digest = sha256_of_file(part.file)
    except OSError as error:
        digest = f"nothing: {error.strerror}"
    if digest != part.digest:
        raise ConservationError(
            found=f"The predictions of shard {part.shard}, {part.file}, have the digest {digest}.",
            expected=f"{part.digest}, as handed over when they were scored.",
            do="clear the scoring task of this shard and let it run again.",
        )


def _check_rows(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    strange, outside = con.execute(
        """
        SELECT
            count(*) FILTER (week IS DISTINCT FROM $week::DATE OR run_id IS DISTINCT FROM $run_id),
            -- NaN is greater than every number to DuckDB.
            count(*) FILTER (NOT coalesce(satisfaction BETWEEN 0 AND 1, false) OR likely_satisfied IS NULL)
        FROM predictions
        """,
        {"week": plan.week, "run_id": plan.run_id},
    ).fetchone() or (0, 0)
    if strange:
        raise ConservationError(
            found=f"{strange} predictions are not of the run {plan.run_id}.",
            expected=f"only predictions of {plan.run_id} for the week {plan.week}.",
            do=_AGAIN,
        )
    if outside:
        raise ExpectationError(
            found=f"{outside} predictions of the run {plan.run_id} have no satisfaction between 0 and 1.",
            expected=f"a satisfaction from 0 to 1 for every row, by the model version {plan.model_version}.",
            do="run the week with another model version; this one must not be used.",
        )
