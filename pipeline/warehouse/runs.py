"""The record of runs, `prediction_runs`: every statement that writes it, and the look-ups of one run.

`pipeline.orchestration.recorded_stage` fills a run's record. To write: `open_run`, `record_stages`,
`committed_before_stop`, `show`, `fail_run` and `fail_unfinished`. To read: `run` and
`published_run`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from pipeline.duck import quoted
from pipeline.errors import ConfigError, TerminalError
from pipeline.settings import Settings
from pipeline.warehouse import transaction
from pipeline.weeks import Week

State = Literal["running", "failed", "held", "published", "superseded", "abandoned"]


class RunRecord(BaseModel):
    """A row of `prediction_runs`. The table's comments describe the columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    run_id: str
    week: date
    n: int
    state: State
    airflow_run_id: str
    started_at: datetime
    finished_at: datetime | None
    published_at: datetime | None
    model_version: str | None
    model_reason: str | None
    trained_after_cutoff: bool | None
    bundle_digest: str | None
    snapshot_digest: str | None
    snapshot_manifest: str | None
    code_version: str | None
    config_digest: str | None
    source_lines: int | None
    source_rows: int | None
    rejects: int | None
    subjects: int | None
    predicted: int | None
    quarantined: int | None
    stage_seconds: dict[str, float]
    stage_peak_mib: dict[str, float]
    validation: list[dict[str, Any]]
    sources: dict[str, Any] | None
    routing: dict[str, Any] | None
    error: str | None


def open_run(settings: Settings, *, week: Week, airflow_run_id: str, **facts: Any) -> str:
    """Record a new running run of the week, with `facts` as further columns; return its id, `<week>.<n>`.

    A run that the same DAG run has begun and not ended is marked as abandoned: the first task is
    running again.
    """
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended('run of ' || :week, 0))")
    abandon = text(
        "UPDATE prediction_runs SET state = 'abandoned', finished_at = now()"
        " WHERE airflow_run_id = :airflow_run_id AND week = :week AND state = 'running'"
    )
    number = text("SELECT coalesce(max(n), 0) + 1 FROM prediction_runs WHERE week = :week")
    insert = text(
        "INSERT INTO prediction_runs (run_id, week, n, state, airflow_run_id)"
        " VALUES (:run_id, :week, :n, 'running', :airflow_run_id)"
    )
    run = {"airflow_run_id": airflow_run_id, "week": week.monday}
    with transaction(settings) as connection:
        connection.execute(lock, {"week": str(week)})  # others that open a run of the week wait
        connection.execute(abandon, run)
        n = connection.execute(number, run).scalar_one()
        connection.execute(insert, {**run, "run_id": f"{week}.{n}", "n": n})
        _update(connection, f"{week}.{n}", facts)
    return f"{week}.{n}"


def update_run(settings: Settings, run_id: str, **columns: Any) -> None:
    """Set columns of a run's record. Dicts and lists become JSON."""
    with transaction(settings) as connection:
        _update(connection, run_id, columns)


@contextmanager
def committed_before_stop(settings: Settings, run_id: str, **columns: Any) -> Iterator[None]:
    """Set columns of a run's record, as evidence, if an error in the block stops the run."""
    try:
        yield
    except TerminalError:
        update_run(settings, run_id, **columns)
        raise


def record_stages(
    settings: Settings, run_id: str, *, seconds: dict[str, float], peak_mib: dict[str, float], facts: dict[str, Any]
) -> None:
    """Record what stages cost, by name, and set the columns that `facts` gives; a retry replaces both.

    A run that had failed is running again: its task was cleared.
    """
    record = text(
        "UPDATE prediction_runs SET stage_seconds = stage_seconds || :seconds,"
        " stage_peak_mib = stage_peak_mib || :peak_mib,"
        " state = CASE state WHEN 'failed' THEN 'running' ELSE state END,"
        " error = CASE state WHEN 'failed' THEN NULL ELSE error END,"
        " finished_at = CASE state WHEN 'failed' THEN NULL ELSE finished_at END WHERE run_id = :run_id"
    )
    costs = {
        "seconds": Jsonb({stage: round(value, 3) for stage, value in seconds.items()}),
        "peak_mib": Jsonb({stage: round(value, 1) for stage, value in peak_mib.items()}),
    }
    with transaction(settings) as connection:
        connection.execute(record, {"run_id": run_id, **costs})
        _update(connection, run_id, facts)


def show(connection: Connection, week: Week, run_id: str, *, predicted: int, quarantined: int) -> None:
    """Make the run the published one of its week, in the caller's transaction."""
    facts = {"week": week.monday, "run_id": run_id, "predicted": predicted, "quarantined": quarantined}
    for statement in (
        "UPDATE prediction_runs SET state = 'superseded' WHERE week = :week AND state = 'published'",
        """UPDATE prediction_runs
        SET state = 'published', published_at = now(), finished_at = now(), error = NULL,
            predicted = :predicted, quarantined = :quarantined
        WHERE run_id = :run_id""",
        """INSERT INTO published_weeks (week, run_id) VALUES (:week, :run_id)
        ON CONFLICT (week) DO UPDATE SET run_id = excluded.run_id""",
    ):
        connection.execute(text(statement), facts)


def fail_run(settings: Settings, run_id: str, error: str) -> None:
    """Close a run as failed, with the latest reason. A published run stays published."""
    _fail(settings, "run_id = :id AND state IN ('running', 'failed')", run_id, error)


def fail_unfinished(settings: Settings, airflow_run_id: str, error: str) -> None:
    """Close as failed a run that its DAG run has left running."""
    _fail(settings, "airflow_run_id = :id AND state = 'running'", airflow_run_id, error)


def run(settings: Settings, run_id: str) -> RunRecord:
    """Return a run's record.

    Raises
    ------
    ConfigError
        If there is no such run.
    """
    found = _one(settings, "SELECT * FROM prediction_runs WHERE run_id = :value", run_id)
    if found is None:
        raise ConfigError(
            f"There is no run {run_id!r} on record.",
            "a run's id, as 2026-11-16.1.",
            "list them with barometer query 'SELECT run_id, state FROM prediction_runs ORDER BY 1'.",
        )
    return found


def published_run(settings: Settings, week: Week) -> RunRecord | None:
    """Return the record of the week's published run, or None if the week is not published."""
    query = "SELECT * FROM prediction_runs WHERE run_id = (SELECT run_id FROM published_weeks WHERE week = :value)"
    return _one(settings, query, week.monday)


def _fail(settings: Settings, condition: str, of: str, error: str) -> None:
    query = f"UPDATE prediction_runs SET state = 'failed', error = :error, finished_at = now() WHERE {condition}"
    with transaction(settings) as connection:
        connection.execute(text(query), {"id": of, "error": error})


def _update(connection: Connection, run_id: str, columns: dict[str, Any]) -> None:
    if not columns:
        return
    values = {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in columns.items()}
    assignments = ", ".join(f"{quoted(name)} = :{name}" for name in columns)
    update = text(f"UPDATE prediction_runs SET {assignments} WHERE run_id = :run_id")
    connection.execute(update, {**values, "run_id": run_id})


def _one(settings: Settings, query: str, value: Any) -> RunRecord | None:
    with transaction(settings) as connection:
        row = connection.execute(text(query), {"value": value}).mappings().one_or_none()
    return None if row is None else RunRecord.model_validate(dict(row))
