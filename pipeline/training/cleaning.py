"""Cleaning: which rows of a past week's features train a model, and what happened to all others.

A row trains if the weekly run would have scored it (by the same expectation suite and built-in
checks) and its label was known in time. No value is corrected: rows out of bounds are kept out, and
odd or absent values are left to the fitted pipeline. `collect` uses it; the entry point is `clean`.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.duck import connection, literal, parquet, quoted
from pipeline.files import sha256_of_file
from pipeline.manifests import KEYS, SnapshotManifest, TrainingWeek, WeekCleaning
from pipeline.settings import Settings
from pipeline.training.training_set import LABEL
from pipeline.validation.quarantine import Examined, examine
from pipeline.validation.suites import week_parameters
from pipeline.weeks import Week


def clean(settings: Settings, manifest: Path, labels: pa.Table, path: Path) -> tuple[TrainingWeek, WeekCleaning]:
    """Write a week's rows that train, with their label, to `path`, and return them and what happened to the others.

    `manifest` is of the week's snapshot. `labels` are as `known_labels` returns them, and may be of other weeks too.
    """
    snapshot = SnapshotManifest.read(manifest)
    files = snapshot.checked_files(manifest.parent)
    quarantine = path.with_suffix(".quarantine")
    parameters = week_parameters(Week.parse(snapshot.week), settings.zone)
    parameters |= {"recent_subjects": None}  # no comparison with published weeks
    examined = examine(settings, snapshot, files, parameters, quarantine)
    with connection(settings) as con:
        con.register("known", labels)
        con.execute(f"CREATE VIEW features AS FROM {parquet(*files)}")
        con.execute(f"CREATE VIEW quarantine AS FROM {parquet(quarantine)}")
        con.execute(f"CREATE TABLE labels AS FROM known WHERE week = DATE {literal(snapshot.week)}")
        rows = _rows(con, snapshot)
        cleaning = _cleaning(con, snapshot, examined, rows.num_rows)
    quarantine.unlink()
    pq.write_table(rows, path)
    satisfied = pc.sum(rows.column(LABEL)).as_py() or 0
    week = TrainingWeek(
        week=snapshot.week, file=path.name, rows=rows.num_rows, satisfied=satisfied, digest=sha256_of_file(path)
    )
    return week, cleaning


def _rows(con: duckdb.DuckDBPyConnection, snapshot: SnapshotManifest) -> pa.Table:
    names = [*KEYS, *(column.name for column in snapshot.columns)]
    return con.sql(
        f"""
        SELECT {", ".join(f"features.{quoted(name)}" for name in names)}, labels.satisfied AS {quoted(LABEL)}
        FROM features
        ANTI JOIN quarantine USING (customer_id, product_id)
        JOIN labels USING (customer_id, product_id)
        ORDER BY features.customer_id, features.product_id
        """
    ).to_arrow_table()


def _cleaning(
    con: duckdb.DuckDBPyConnection, snapshot: SnapshotManifest, examined: Examined, rows: int
) -> WeekCleaning:
    keys = "SELECT customer_id, product_id FROM"
    quarantined_rows, labels, without_row, of_quarantined = con.execute(
        f"""
        SELECT
            (SELECT count(*) FROM quarantine),
            count(*),
            count(*) FILTER ((customer_id, product_id) NOT IN ({keys} features)),
            count(*) FILTER ((customer_id, product_id) IN ({keys} quarantine))
        FROM labels
        """
    ).fetchall()[0]
    return WeekCleaning(
        week=snapshot.week,
        feature_rows=snapshot.rows,
        quarantined_rows=quarantined_rows,
        quarantined={result.title: result.unexpected_rows or 0 for result in examined.about_rows},
        unlabelled_rows=snapshot.rows - quarantined_rows - rows,
        rows=rows,
        labels=labels,
        labels_without_row=without_row,
        labels_of_quarantined=of_quarantined,
        failures=[f"{r.title}: {r.observed}" for r in examined.results if r.stops and r not in examined.about_rows],
    )
