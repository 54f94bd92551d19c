"""Shadow scores change with their week, whole, for everybody, whoever reads or is killed meanwhile."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConservationError
from pipeline.models.predictions import SHADOW_SCHEMA
from pipeline.settings import Settings
from pipeline.warehouse.superseded import KINDS, run_table
from pipeline.weekly.handoffs import Checked, Plan
from pipeline.weekly.publish import publish
from pipeline.weeks import Week
from tests.company import FIRST_WEEK
from tests.routed import CHALLENGER
from tests.weekly.test_publish import SUBJECTS, before_each_step, left, reader, rows, states, tables_read
from tests.weeks_of_runs import scored_run

VIEWS = ("predictions", "shadow_predictions")


def shadowed_run(settings: Settings, week: Week = FIRST_WEEK, name: str | None = None) -> tuple[Plan, Checked]:
    """A run with all its predictions and shadow scores in files."""
    name = name or f"dag run {len(states(settings, week))}"
    plan, checked = scored_run(settings, week, SUBJECTS, airflow_run_id=name)
    return plan, checked.model_copy(update={"shadow_files": [shadow_of(file) for file in checked.files]})


def shadow_of(file: Path) -> Path:
    rows = pq.read_table(file)
    shadow = rows.set_column(rows.schema.get_field_index("model_version"), "model_version", [[CHALLENGER] * len(rows)])
    path = file.with_name(f"shadow-{file.name}")
    pq.write_table(pa.table([shadow.column(name) for name in SHADOW_SCHEMA.names], schema=SHADOW_SCHEMA), path)
    return path


def published(settings: Settings, week: Week = FIRST_WEEK) -> str:
    plan, checked = shadowed_run(settings, week)
    publish(settings, plan, checked)
    return plan.run_id


def seen(connection, week: Week = FIRST_WEEK) -> list[dict[str, int]]:
    """Rows of the week by run: predictions, and shadow scores."""
    queries = [f"SELECT run_id, count(*) FROM {view} WHERE week = '{week}' GROUP BY run_id" for view in VIEWS]
    return [dict(connection.execute(query).fetchall()) for query in queries]


def seen_now(settings: Settings, week: Week = FIRST_WEEK) -> list[dict[str, int]]:
    with reader(settings) as connection:
        return seen(connection, week)


def both(run_id: str) -> list[dict[str, int]]:
    return [{run_id: SUBJECTS}] * 2


def tables(settings: Settings) -> list[str]:
    """The tables of runs."""
    query = "SELECT relname FROM pg_class WHERE relname ~ '^(shadow_)?predictions_[0-9]{8}_[0-9]+$' AND relkind = 'r'"
    return sorted(row[0] for row in rows(settings, query))


def test_what_was_scored_in_the_shadow_is_there_and_nobody_is_served_it(warehouse_settings: Settings) -> None:
    plan, checked = shadowed_run(warehouse_settings)
    publish(warehouse_settings, plan, checked)
    files = pa.concat_tables(pq.read_table(file) for file in checked.shadow_files).sort_by("customer_id")
    found = rows(
        warehouse_settings, f"SELECT {', '.join(SHADOW_SCHEMA.names)} FROM shadow_predictions ORDER BY customer_id"
    )
    assert found == [tuple(row.values()) for row in files.to_pylist()]
    for view in ("predictions", "latest_predictions"):
        served = f"SELECT count(*), count(*) FILTER (WHERE model_version = '{CHALLENGER}') FROM {view}"
        assert rows(warehouse_settings, served) == [(SUBJECTS, 0)]
    counted = rows(warehouse_settings, "SELECT sum(subjects) FROM weekly_satisfaction_by_product")
    assert counted == [(SUBJECTS,)]
    before = rows(warehouse_settings, "SELECT tableoid, xmin::text FROM storage.shadow_predictions")
    publish(warehouse_settings, plan, checked)
    assert rows(warehouse_settings, "SELECT tableoid, xmin::text FROM storage.shadow_predictions") == before


def test_a_run_without_a_shadow_leaves_none_and_superseded_ones_are_dropped(warehouse_settings: Settings) -> None:
    published(warehouse_settings)
    second = shadowed_run(warehouse_settings)
    publish(warehouse_settings, *second)
    assert seen_now(warehouse_settings) == both(second[0].run_id)
    left(warehouse_settings, second, ["predictions_20260105_2", "shadow_predictions_20260105_2"], tables)
    third = scored_run(warehouse_settings, FIRST_WEEK, SUBJECTS, airflow_run_id="without")
    publish(warehouse_settings, *third)
    assert seen_now(warehouse_settings) == [{f"{FIRST_WEEK}.3": SUBJECTS}, {}]
    left(warehouse_settings, third, ["predictions_20260105_3"], tables)


def test_a_cleared_run_whose_shadow_failed_the_second_time_is_published_as_it_was(warehouse_settings: Settings) -> None:
    plan, checked = shadowed_run(warehouse_settings)
    publish(warehouse_settings, plan, checked)
    with reader(warehouse_settings) as early:
        seen(early)  # keeps the first run's tables
        other = published(warehouse_settings)
        assert seen_now(warehouse_settings) == both(other)
        publish(warehouse_settings, plan, checked.model_copy(update={"shadow_files": []}))
        assert seen_now(warehouse_settings) == both(plan.run_id)


def test_a_reader_sees_the_old_predictions_with_the_old_shadow(warehouse_settings: Settings) -> None:
    old = published(warehouse_settings)
    with reader(warehouse_settings) as early, reader(warehouse_settings) as shadow_only:
        assert seen(early) == both(old)
        shadow_only.execute("SELECT FROM prediction_runs")  # a snapshot, and no lock that a DROP would wait for
        new = published(warehouse_settings)
        assert seen(early) == seen(shadow_only) == both(old)
        assert seen_now(warehouse_settings) == both(new)
    last = shadowed_run(warehouse_settings)
    publish(warehouse_settings, *last)
    assert seen_now(warehouse_settings) == both(last[0].run_id)
    left(warehouse_settings, last, ["predictions_20260105_3", "shadow_predictions_20260105_3"], tables)


def test_a_reader_between_any_two_statements_sees_one_whole_run(warehouse_settings: Settings) -> None:
    old = published(warehouse_settings)
    sightings: list[list[dict[str, int]]] = []
    with before_each_step(lambda: sightings.append(seen_now(warehouse_settings))):
        new = published(warehouse_settings)
    assert len(sightings) > 25
    changes = [sight for sight, before in zip(sightings, [None, *sightings], strict=False) if sight != before]
    assert changes == [both(old), both(new)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_between_any_two_statements(warehouse_settings: Settings) -> None:
    """A killed publish leaves the old week or the new one, and a retry completes it, as if nothing had happened."""
    old = published(warehouse_settings)
    for step in range(1, 200):
        run = shadowed_run(warehouse_settings, name=str(step))
        new = run[0].run_id
        if killed := killed_at(step, lambda run=run: publish(warehouse_settings, *run)):
            assert seen_now(warehouse_settings) in (both(old), both(new))
            publish(warehouse_settings, *run)
        assert seen_now(warehouse_settings) == both(new)
        left(warehouse_settings, run, [run_table(new, kind) for kind in KINDS], tables)
        exported = warehouse_settings.home / "exports/predictions" / str(FIRST_WEEK) / "manifest.json"
        assert new in exported.read_text()
        old = new
        if not killed:
            break
    assert step > 25
    assert states(warehouse_settings) == ["superseded"] * step + ["published"]


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child that is killed at its n-th step; return whether it had so many."""
    child = os.fork()
    if child == 0:
        countdown = iter(range(1, step))

        def count() -> None:
            if next(countdown, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(lambda name, _: count() if name == "os.rename" else None)
        try:
            with before_each_step(count):
                action()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "the child failed by itself"
    return status != 0


def test_killed_and_tried_again_without_the_shadow_leaves_none(warehouse_settings: Settings) -> None:
    """Its challenger's files were lost meanwhile: what the first attempt had loaded must not come to light."""
    plan, checked = shadowed_run(warehouse_settings)
    with pytest.raises(ConservationError):  # after it has loaded both
        publish(warehouse_settings, plan, checked.model_copy(update={"quarantined": 1}))
    publish(warehouse_settings, plan, checked.model_copy(update={"shadow_files": []}))
    assert seen_now(warehouse_settings) == [{plan.run_id: SUBJECTS}, {}]
    assert tables(warehouse_settings) == ["predictions_20260105_1"]


def test_a_shadow_that_is_not_everybodys_is_not_published(warehouse_settings: Settings) -> None:
    plan, checked = shadowed_run(warehouse_settings)
    with pytest.raises(ConservationError, match=r"shadow scores of the run .* are 15 rows"):
        publish(warehouse_settings, plan, checked.model_copy(update={"shadow_files": checked.shadow_files[:1]}))
    twice = [*checked.shadow_files, checked.shadow_files[0]]
    with pytest.raises(ConservationError, match="do not fit into its table"):
        publish(warehouse_settings, plan, checked.model_copy(update={"shadow_files": twice}))
    other, _ = shadowed_run(warehouse_settings)
    strangers = [shadow_of(file) for file in sorted((other.folder / "predictions").glob("shard-*.parquet"))]
    with pytest.raises(ConservationError, match="do not fit into its table"):
        publish(warehouse_settings, plan, checked.model_copy(update={"shadow_files": strangers}))
    assert seen_now(warehouse_settings) == [{}, {}]


def test_other_weeks_shadows_are_not_read(warehouse_settings: Settings) -> None:
    published(warehouse_settings, FIRST_WEEK.plus(1))
    published(warehouse_settings)
    query = f"SELECT avg(satisfaction) FROM shadow_predictions WHERE week = '{FIRST_WEEK}'"
    assert tables_read(warehouse_settings, query) == {"shadow_predictions_20260105_1"}
