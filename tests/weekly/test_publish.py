"""Publish: a week changes whole, once, for everybody, whoever reads or races meanwhile. (Killed: see the shadow's.)"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi
from sqlalchemy import event, text

from pipeline import warehouse
from pipeline.errors import ConservationError
from pipeline.settings import Settings
from pipeline.warehouse import runs
from pipeline.weekly.handoffs import Checked, Plan
from pipeline.weekly.publish import publish
from pipeline.weeks import Week
from tests.company import FIRST_WEEK
from tests.waiting import until
from tests.weeks_of_runs import scored_run

SUBJECTS = 30
Listed = Callable[[Settings], list[str]]
"""Names the tables of runs."""


@contextmanager
def reader(settings: Settings, isolation: str = "REPEATABLE READ") -> Iterator[psycopg.Connection]:
    """Yield a connection in an open transaction of its own."""
    url = warehouse.engine(settings).url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel[isolation.replace(" ", "_")]
        yield connection


def seen(connection: psycopg.Connection, week: Week = FIRST_WEEK) -> dict[str, int]:
    """Rows of the week by run, as this reader sees them."""
    query = "SELECT run_id, count(*) FROM predictions WHERE week = %s GROUP BY run_id"
    return dict(connection.execute(query, [week.monday]).fetchall())


def seen_now(settings: Settings, week: Week = FIRST_WEEK) -> dict[str, int]:
    with reader(settings) as connection:
        return seen(connection, week)


def rows(settings: Settings, query: str) -> list[tuple]:
    with warehouse.transaction(settings) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def tables(settings: Settings, week: Week = FIRST_WEEK) -> list[str]:
    """The runs of the week that have a table."""
    name = f"predictions_{week.monday:%Y%m%d}_"
    query = (
        f"SELECT substr(relname, {len(name) + 1}) FROM pg_class WHERE relname ^@ '{name}' AND relkind = 'r' ORDER BY 1"
    )
    return [row[0] for row in rows(settings, query)]


def states(settings: Settings, week: Week = FIRST_WEEK) -> list[str]:
    return [row[0] for row in rows(settings, f"SELECT state FROM prediction_runs WHERE week = '{week}' ORDER BY n")]


def published(settings: Settings, week: Week = FIRST_WEEK, subjects: int = SUBJECTS) -> tuple[Plan, Checked]:
    run = scored_run(settings, week, subjects, airflow_run_id=f"dag run {len(states(settings, week))}")
    publish(settings, *run)
    return run


def left(settings: Settings, run: tuple[Plan, Checked], expected: list[str], listed: Listed = tables) -> None:
    """Wait until only these tables are left. Each publish tries to drop the others, and autovacuum may be at work."""
    until(lambda: listed(settings) == expected or not publish(settings, *run))


def quarantined(settings: Settings, plan: Plan, subjects: int) -> None:
    """Keep subjects out of a run of a hundred."""
    with warehouse.transaction(settings) as connection:
        for number in range(subjects):
            connection.execute(
                text("INSERT INTO quarantine VALUES (:run_id, :customer, 'p9', ARRAY['odd'], '[]')"),
                {"run_id": plan.run_id, "customer": f"q{number}"},
            )


def test_a_published_week_is_what_was_scored(warehouse_settings: Settings):
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS)
    runs.update_run(warehouse_settings, plan.run_id, subjects=SUBJECTS + 2)
    quarantined(warehouse_settings, plan, 2)
    result = publish(warehouse_settings, plan, checked.model_copy(update={"quarantined": 2}))
    files = pa.concat_tables(pq.read_table(file) for file in checked.files).sort_by("customer_id")
    assert_seen(warehouse_settings, files)
    infos = rows(warehouse_settings, "SELECT info, info->>'info_name' FROM predictions ORDER BY customer_id LIMIT 2")
    assert infos == [(None, None), ({"info_name": "name 1"}, "name 1")]
    record = runs.published_run(warehouse_settings, FIRST_WEEK)
    assert (record.run_id, record.state, record.predicted, record.quarantined) == (
        plan.run_id,
        "published",
        SUBJECTS,
        2,
    )
    assert record.published_at is not None
    assert (result.run_id, result.predicted, result.quarantined) == (plan.run_id, SUBJECTS, 2)


def assert_seen(settings: Settings, files: pa.Table) -> None:
    columns = [name for name in files.column_names if name != "info"]
    found = rows(settings, f"SELECT {', '.join(columns)} FROM predictions ORDER BY customer_id")
    assert found == [tuple(row.values()) for row in files.select(columns).to_pylist()]


@pytest.mark.parametrize("column", ["week", "role", "model_version", "run_id", "trained_after_cutoff"])
@pytest.mark.parametrize("value", [None, "another"])
def test_a_value_that_one_row_has_is_its_own(warehouse_settings: Settings, column: str, value: str | None):
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS)
    table = pq.read_table(checked.files[0])
    others = {"week": FIRST_WEEK.monday + timedelta(days=7), "trained_after_cutoff": True}
    strange = [*table[column].to_pylist()[1:], value and others.get(column, value)]
    place = table.schema.get_field_index(column)
    table = table.set_column(place, table.schema.field(place), pa.array(strange, table.schema.field(place).type))
    pq.write_table(table, checked.files[0], row_group_size=5)
    if value is None or column in {"week", "run_id"}:
        with pytest.raises(ConservationError, match="do not fit into its table"):
            publish(warehouse_settings, plan, checked)
        return
    publish(warehouse_settings, plan, checked)
    files = pa.concat_tables(pq.read_table(file) for file in checked.files)
    assert_seen(warehouse_settings, files.sort_by("customer_id"))


def test_the_products_of_a_week(warehouse_settings: Settings):
    published(warehouse_settings)
    published(warehouse_settings, FIRST_WEEK.plus(2))
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK.plus(3), SUBJECTS)
    quarantined(warehouse_settings, plan, 2)
    runs.update_run(warehouse_settings, plan.run_id, subjects=SUBJECTS + 2)
    publish(warehouse_settings, plan, checked.model_copy(update={"quarantined": 2}))
    expected = """
        SELECT
            now.week, now.product_id, count(*), avg(now.satisfaction), avg(now.likely_satisfied::int)::float,
            avg(now.satisfaction) - (
                SELECT avg(before.satisfaction) FROM predictions AS before
                WHERE before.product_id = now.product_id
                AND before.week = (SELECT max(week) FROM published_weeks WHERE week < now.week)
            ), 0
        FROM predictions AS now
        GROUP BY now.week, now.product_id
        ORDER BY 1, 2
    """
    view = """
        SELECT week, product_id, subjects, satisfaction, likely_satisfied, change, quarantined
        FROM weekly_satisfaction_by_product
        ORDER BY 1, 2
    """
    *served, kept_out = rows(warehouse_settings, view)
    for row, alike in zip(served, rows(warehouse_settings, expected), strict=True):
        assert row == pytest.approx(alike, abs=1e-12)
    assert kept_out == (FIRST_WEEK.plus(3).monday, "p9", 0, None, None, None, 2)
    latest = rows(warehouse_settings, "SELECT DISTINCT run_id FROM latest_predictions")
    assert latest == [(plan.run_id,)]


def test_publishing_again_changes_nothing(warehouse_settings: Settings):
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS)
    everything = (
        "SELECT p.*, p.tableoid, p.xmin::text, r.* FROM storage.predictions AS p, prediction_runs AS r ORDER BY 2"
    )
    first = publish(warehouse_settings, plan, checked)
    before = rows(warehouse_settings, everything)
    assert publish(warehouse_settings, plan, checked) == first
    assert rows(warehouse_settings, everything) == before


def test_the_later_commit_wins_and_both_are_on_record(warehouse_settings: Settings):
    first, second = published(warehouse_settings), published(warehouse_settings)
    assert seen_now(warehouse_settings) == {second[0].run_id: SUBJECTS}
    assert states(warehouse_settings) == ["superseded", "published"]
    publish(warehouse_settings, *first)  # its task was cleared and ran again
    assert seen_now(warehouse_settings) == {first[0].run_id: SUBJECTS}
    assert states(warehouse_settings) == ["published", "superseded"]
    left(warehouse_settings, first, ["1"])


def test_the_export_holds_the_published_run(warehouse_settings: Settings):
    for _ in range(2):
        plan, checked = published(warehouse_settings)
    manifest = publish(warehouse_settings, plan, checked).export
    content = json.loads(manifest.read_text())
    assert (content["week"], content["run_id"], content["rows"]) == (plan.week, plan.run_id, SUBJECTS)
    exported = pa.concat_tables(pq.read_table(manifest.parent / part["file"]) for part in content["files"])
    assert exported == pa.concat_tables(pq.read_table(file) for file in checked.files)


def test_a_reader_sees_the_old_week_whole_before_during_and_after(warehouse_settings: Settings):
    old = published(warehouse_settings)[0].run_id
    with reader(warehouse_settings) as early, reader(warehouse_settings) as locking:
        assert seen(early) == {old: SUBJECTS}
        locking.execute(
            "SELECT * FROM storage.predictions, weekly_satisfaction_by_product"
        )  # a lock on every partition
        new = published(warehouse_settings)[0].run_id  # returns, so no reader blocks it
        assert seen(early) == seen(locking) == {old: SUBJECTS}
        assert seen_now(warehouse_settings) == {new: SUBJECTS}
        by_product = "SELECT DISTINCT run_id FROM weekly_satisfaction_by_product"
        assert early.execute(by_product).fetchall() == [(old,)]
        published(warehouse_settings)
        assert seen(early) == {old: SUBJECTS}
    last = published(warehouse_settings)
    left(warehouse_settings, last, ["4"])
    sums = rows(warehouse_settings, "SELECT DISTINCT run_id FROM storage.satisfaction_by_product")
    assert sums == [(last[0].run_id,)]


def test_a_reader_between_any_two_statements_sees_one_whole_run(warehouse_settings: Settings):
    old = published(warehouse_settings)[0].run_id
    sightings: list[dict[str, int]] = []
    with before_each_step(lambda: sightings.append(seen_now(warehouse_settings))):
        new = published(warehouse_settings)[0].run_id
    assert len(sightings) > 20
    changes = [sight for sight, before in zip(sightings, [None, *sightings], strict=False) if sight != before]
    assert changes == [{old: SUBJECTS}, {new: SUBJECTS}]


def test_a_reader_who_has_not_looked_at_the_week_yet_sees_the_old_one(warehouse_settings: Settings):
    old = published(warehouse_settings)[0].run_id
    with reader(warehouse_settings) as early:
        early.execute("SELECT FROM prediction_runs")  # a snapshot, and no lock that a DROP would wait for
        published(warehouse_settings)
        assert seen(early) == {old: SUBJECTS}


def test_an_open_transaction_without_a_snapshot_delays_nobody(warehouse_settings: Settings):
    published(warehouse_settings)
    with reader(warehouse_settings, "READ COMMITTED") as idle:
        seen(idle)  # leaves locks on the partitions
        idle.execute("SELECT 1")  # and this no snapshot: psycopg sends it in the simple protocol, which closes portals
        snapshots = f"SELECT count(backend_xmin) FROM pg_stat_activity WHERE pid = {idle.info.backend_pid}"
        assert rows(warehouse_settings, snapshots) == [(0,)]
        published(warehouse_settings)
        assert tables(warehouse_settings) == ["1", "2"]
        assert seen(idle) == {f"{FIRST_WEEK}.2": SUBJECTS}
    left(warehouse_settings, published(warehouse_settings, FIRST_WEEK.plus(1)), ["2"])  # another week's, too


def test_runs_of_a_week_that_publish_at_once_take_turns(warehouse_settings: Settings):
    prepared = [scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS, airflow_run_id=name) for name in "abc"]
    crowd = [*prepared, *prepared]
    start = Barrier(len(crowd))

    def race(run: tuple[Plan, Checked]) -> None:
        start.wait()
        publish(warehouse_settings, *run)

    with ThreadPoolExecutor(len(crowd)) as pool:
        list(pool.map(race, crowd))
    winner = runs.published_run(warehouse_settings, FIRST_WEEK)
    assert seen_now(warehouse_settings) == {winner.run_id: SUBJECTS}
    assert sorted(states(warehouse_settings)) == ["published", "superseded", "superseded"]
    left(warehouse_settings, prepared[winner.n - 1], [str(winner.n)])


def test_other_weeks_publish_at_the_same_time(warehouse_settings: Settings):
    weeks = [FIRST_WEEK.plus(number) for number in range(4)]
    prepared = [scored_run(warehouse_settings, week, SUBJECTS) for week in weeks]
    with ThreadPoolExecutor(len(weeks)) as pool:
        list(pool.map(lambda run: publish(warehouse_settings, *run), prepared))
    assert [seen_now(warehouse_settings, week) for week in weeks] == [{f"{week}.1": SUBJECTS} for week in weeks]


@contextmanager
def before_each_step(notice: Callable[[], None]) -> Iterator[None]:
    """Call `notice` before each statement and commit of publish, by SQLAlchemy and by ADBC; not within a notice."""
    noticing = False

    def step(*_: object, **__: object) -> None:
        nonlocal noticing
        if not noticing:
            noticing = True
            notice()
            noticing = False

    with pytest.MonkeyPatch.context() as patch:
        for cls, name in ((dbapi.Cursor, "execute"), (dbapi.Cursor, "adbc_ingest"), (dbapi.Connection, "commit")):
            original = getattr(cls, name)
            patch.setattr(cls, name, lambda *a, original=original, **k: (step(), original(*a, **k))[1])
        engines = warehouse.Engine
        for name in ("before_cursor_execute", "commit"):
            event.listen(engines, name, step)
        try:
            yield
        finally:
            for name in ("before_cursor_execute", "commit"):
                event.remove(engines, name, step)


def test_other_weeks_and_in_the_latest_one_superseded_runs_are_not_read(warehouse_settings: Settings):
    published(warehouse_settings, FIRST_WEEK.plus(-1))
    published(warehouse_settings)
    with reader(warehouse_settings) as early:
        seen(early)
        published(warehouse_settings)
        assert tables(warehouse_settings) == ["1", "2"]
        week = f"SELECT avg(satisfaction) FROM predictions WHERE week = '{FIRST_WEEK}'"
        assert tables_read(warehouse_settings, week) == {"predictions_20260105_1", "predictions_20260105_2"}
        latest = "SELECT avg(satisfaction) FROM latest_predictions"
        assert tables_read(warehouse_settings, latest) == {"predictions_20260105_2"}
    published(warehouse_settings, FIRST_WEEK.plus(-1))
    assert tables_read(warehouse_settings, week) == {"predictions_20260105_2"}


def tables_read(settings: Settings, query: str) -> set[str]:
    lines = [row[0] for row in rows(settings, f"EXPLAIN (ANALYZE, COSTS OFF) {query}")]
    scans = [re.search(r" on ((?:shadow_)?predictions_\w+)", line) for line in lines if "never executed" not in line]
    return {scan[1] for scan in scans if scan}


@pytest.mark.parametrize("subjects", [None, SUBJECTS - 1, SUBJECTS + 1])
def test_subjects_that_are_not_conserved_are_not_published(warehouse_settings: Settings, subjects: int | None):
    old = published(warehouse_settings)[0].run_id
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS)
    runs.update_run(warehouse_settings, plan.run_id, subjects=subjects)
    with pytest.raises(ConservationError, match=f"{SUBJECTS} predictions and 0 quarantined subjects"):
        publish(warehouse_settings, plan, checked)
    assert seen_now(warehouse_settings) == {old: SUBJECTS}


def test_a_missing_part_or_quarantine_is_not_published(warehouse_settings: Settings):
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS)
    with pytest.raises(ConservationError, match="holds 15 predictions"):
        publish(warehouse_settings, plan, checked.model_copy(update={"files": checked.files[:1]}))
    quarantined(warehouse_settings, plan, 1)
    with pytest.raises(ConservationError, match="and 1 quarantined"):
        publish(warehouse_settings, plan, checked)
    assert seen_now(warehouse_settings) == {}


def test_a_subject_twice_or_of_another_run_is_not_published(warehouse_settings: Settings):
    other, _ = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS)
    plan, checked = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS, airflow_run_id="another")
    for strange in ([*checked.files, checked.files[0]], [strangers(other.folder)]):
        with pytest.raises(ConservationError, match="do not fit into its table"):
            publish(warehouse_settings, plan, checked.model_copy(update={"files": strange}))
    assert seen_now(warehouse_settings) == {}


def strangers(folder: Path) -> Path:
    return folder / "predictions/shard-0000.parquet"
