"""Publish, the eighth stage: make a checked week visible as a whole, without ever making a reader wait.

A run's rows are loaded into a table of their own, which the views do not show, and its shadow
scores into another. One short transaction then attaches both below `storage.predictions` and
`storage.shadow_predictions`, and points the week at the run; the views follow that pointer. A
transaction that is reading the superseded run keeps its rows until `pipeline.warehouse.superseded`
finds that no reader needs them any more.

Runs of one week take turns on an advisory lock, so the later commit wins. After a publish was
killed, the next attempt replaces or completes what it left. The entry point is `publish`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi
from sqlalchemy import Connection, text

from pipeline.duck import literal, quoted
from pipeline.errors import ConservationError
from pipeline.parallel import in_order, threads
from pipeline.settings import Settings
from pipeline.warehouse import available, engine, runs
from pipeline.warehouse.loading import JSONB_VERSION, loading
from pipeline.warehouse.superseded import KINDS, PUBLISHING, drop_superseded, run_table
from pipeline.warehouse.week_export import export_week
from pipeline.weekly.handoffs import Checked, Plan, Published
from pipeline.weeks import Week

CONSTANT = ("week", "role", "model_version", "run_id", "trained_after_cutoff")  # one value in most runs


def publish(settings: Settings, plan: Plan, checked: Checked) -> Published:
    """Make the run the published one of its week, unless it is already.

    Raises
    ------
    ConservationError
        If the rows in the warehouse are not all the run's subjects except the quarantined.
    DatabaseUnavailableError
        If the connection is lost. Another attempt completes the work.
    """
    with available(), _turn(settings, plan) as connection:
        with connection.begin():
            is_published, is_loaded = _is_published(connection, plan), _is_attached(connection, run_table(plan.run_id))
        if not is_published:
            if not is_loaded:
                _load(settings, plan, checked)
            with connection.begin():
                _check_conservation(connection, plan, checked)
                _switch(connection, plan, checked)
        manifest = export_week(settings.home, plan.week, plan.run_id, checked.files)
        drop_superseded(connection)
    return Published(
        week=plan.week,
        run_id=plan.run_id,
        predicted=checked.predicted,
        quarantined=checked.quarantined,
        export=manifest,
    )


@contextmanager
def _turn(settings: Settings, plan: Plan) -> Iterator[Connection]:
    """Yield a connection that holds the week's lock until it closes, outside any transaction."""
    with engine(settings).connect() as connection:
        with connection.begin():
            connection.execute(text(f"SELECT pg_advisory_lock({PUBLISHING})"), {"week": plan.week})
        yield connection


def _is_published(connection: Connection, plan: Plan) -> bool:
    query = text("SELECT EXISTS (SELECT FROM published_weeks WHERE run_id = :run_id)")
    return bool(connection.execute(query, {"run_id": plan.run_id}).scalar_one())


def _is_attached(connection: Connection, table: str) -> bool:
    """Return whether the table is a partition. If so, all rows of its run are in it and never change."""
    query = text("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(:table))")
    return bool(connection.execute(query, {"table": f"storage.{table}"}).scalar_one())


def _load(settings: Settings, plan: Plan, checked: Checked) -> None:
    """Load the predictions into the run's own tables, with the sums by product, in one transaction."""
    try:
        with loading(settings) as cursor:
            for kind in KINDS:  # an earlier attempt may have left either table
                cursor.execute(f"DROP TABLE IF EXISTS storage.{run_table(plan.run_id, kind)}")
            _load_rows(cursor, plan, "predictions", checked.files, threads(settings))
            _sum_by_product(cursor, f"storage.{run_table(plan.run_id)}", literal(plan.run_id))
            if checked.shadow_files:
                loaded = _load_rows(cursor, plan, "shadow_predictions", checked.shadow_files, threads(settings))
                if loaded != checked.predicted:
                    raise ConservationError(
                        f"The shadow scores of the run {plan.run_id} are {loaded} rows.",
                        f"{checked.predicted}, one for each prediction, as checked.",
                        "run the week again; if it happens twice, compare the run's files.",
                    )
    except dbapi.IntegrityError as error:
        raise ConservationError(
            f"The predictions of the run {plan.run_id} do not fit into its table: {error}",
            "one row for each subject, all of this run and week.",
            "clear the scoring tasks and let them run again; if it happens again, scoring has a bug.",
        ) from None


def _load_rows(cursor: dbapi.Cursor, plan: Plan, kind: str, files: Sequence[Path], ahead: int) -> int:
    """Load files into the run's table of one kind; return the number of rows.

    A value that all rows have in common is not sent with each row: it is the column's default. With
    the CHECK, PostgreSQL attaches the table without scanning its rows. (The load writes no WAL
    either: see `pipeline.local.postgres.cluster`.)
    """
    name, common = run_table(plan.run_id, kind), _common_values(files)
    cursor.execute(
        f"CREATE TABLE storage.{name} (LIKE storage.{kind} INCLUDING COMMENTS,"
        f" CHECK (week = {literal(plan.week)} AND run_id = {literal(plan.run_id)}))"
    )
    for column, value in common.items():
        cursor.execute(f"ALTER TABLE storage.{name} ALTER {quoted(column)} SET DEFAULT {literal(value)}")
    rows: int = cursor.adbc_ingest(name, _rows(files, common, ahead), mode="append", db_schema_name="storage")
    cursor.execute(f"ALTER TABLE storage.{name} ADD PRIMARY KEY (customer_id, product_id)")
    cursor.execute(f"ANALYZE storage.{name}")
    return rows


def _common_values(files: Sequence[Path]) -> dict[str, str]:
    """Return the columns of `CONSTANT` with one value in all rows, and that value, from Parquet's statistics."""
    names = pq.read_schema(files[0]).names
    groups = [part.row_group(number) for part in map(pq.read_metadata, files) for number in range(part.num_row_groups)]
    common = {}
    for name in filter(names.__contains__, CONSTANT):
        ranges = [group.column(names.index(name)).statistics for group in groups]
        values = {value for each in ranges if each for value in (each.min, each.max)}
        if len(values) == 1 and all(each and each.has_min_max and each.null_count == 0 for each in ranges):
            common[name] = str(*values)
    return common


def _sum_by_product(cursor: dbapi.Cursor, table: str, run_id: str) -> None:
    cursor.execute(f"DELETE FROM storage.satisfaction_by_product WHERE run_id = {run_id}")
    # Sums of integers do not depend on the order, so that both cores may add.
    cursor.execute(
        "CREATE TEMPORARY TABLE served ON COMMIT DROP AS SELECT product_id, count(*) AS subjects,"
        " avg((satisfaction * 1e15)::bigint) / 1e15 AS satisfaction, avg(likely_satisfied::int) AS likely_satisfied"
        f" FROM {table} GROUP BY product_id"
    )
    cursor.execute(
        f"""
        INSERT INTO storage.satisfaction_by_product
        SELECT
            {run_id}, product_id, coalesce(served.subjects, 0), served.satisfaction, served.likely_satisfied,
            coalesce(kept_out.subjects, 0)
        FROM served
        FULL JOIN (
            SELECT product_id, count(*) AS subjects FROM quarantine
            WHERE run_id = {run_id} AND product_id IS NOT NULL GROUP BY product_id
        ) AS kept_out USING (product_id)
        """
    )


def _rows(files: Sequence[Path], without: Iterable[str], ahead: int) -> pa.RecordBatchReader:
    """Return the rows of the files without some columns, with any column `info` in the binary form of jsonb."""
    schema = pq.read_schema(files[0])
    names = [name for name in schema.names if name not in without]
    schema = pa.schema([(name, pa.binary() if name == "info" else schema.field(name).type) for name in names])
    groups = [(file, group) for file in files for group in range(pq.read_metadata(file).num_row_groups)]

    def read(group: tuple[Path, int]) -> pa.Table:
        rows = pq.ParquetFile(group[0]).read_row_group(group[1], columns=names)
        if "info" in names:
            info = pc.binary_join_element_wise(JSONB_VERSION, rows["info"].cast(pa.binary()), b"")
            rows = rows.set_column(names.index("info"), "info", info)
        return rows.cast(schema)

    batches = (batch for rows in in_order(read, groups, ahead) for batch in rows.to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)


def _check_conservation(connection: Connection, plan: Plan, checked: Checked) -> None:
    """Check in the warehouse that subjects = predictions + quarantined."""
    query = text(
        """
        SELECT
            (SELECT count(*) FROM quarantine WHERE run_id = :run_id) AS quarantined,
            (SELECT subjects FROM prediction_runs WHERE run_id = :run_id) AS subjects,
            coalesce(sum(loaded.subjects), 0) AS predicted
        FROM storage.satisfaction_by_product AS loaded
        WHERE loaded.run_id = :run_id
        """
    )
    counts = connection.execute(query, {"run_id": plan.run_id}).one()
    expected = (checked.predicted, checked.quarantined, checked.predicted + checked.quarantined)
    if (counts.predicted, counts.quarantined, counts.subjects) != expected:
        raise ConservationError(
            f"The warehouse holds {counts.predicted} predictions and {counts.quarantined} quarantined subjects"
            f" of the run {plan.run_id}, whose features have {counts.subjects} subjects.",
            f"{expected[0]} predictions and {expected[1]} quarantined of {expected[2]} subjects, as checked.",
            "run the week again; if it happens twice, compare the run's files with the table quarantine.",
        )


def _switch(connection: Connection, plan: Plan, checked: Checked) -> None:
    """Show the run instead of the one before. Readers neither block this nor notice it."""
    for kind in KINDS:
        _attach(connection, plan, kind)
    counts = {"predicted": checked.predicted, "quarantined": checked.quarantined}
    runs.show(connection, Week.parse(plan.week), plan.run_id, **counts)


def _attach(connection: Connection, plan: Plan, kind: str) -> None:
    """Attach the run's table, if there is one of this kind, to its week's, and that to the root.

    Unlike CREATE TABLE … PARTITION OF, attaching does not lock readers out.
    """
    run, week = run_table(plan.run_id, kind), run_table(plan.week, kind)
    if not connection.execute(text("SELECT to_regclass(:table)"), {"table": f"storage.{run}"}).scalar_one():
        return
    if not _is_attached(connection, week):
        like = f"LIKE storage.{kind} INCLUDING COMMENTS"
        connection.execute(text(f"CREATE TABLE storage.{week} ({like}) PARTITION BY LIST (run_id)"))
        values = f"FOR VALUES IN ({literal(plan.week)})"
        connection.execute(text(f"ALTER TABLE storage.{kind} ATTACH PARTITION storage.{week} {values}"))
    if not _is_attached(connection, run):
        values = f"FOR VALUES IN ({literal(plan.run_id)})"
        connection.execute(text(f"ALTER TABLE storage.{week} ATTACH PARTITION storage.{run} {values}"))
