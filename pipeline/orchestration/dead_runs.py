"""Close runs that died with the process that executed them.

A command that was killed leaves its DAG run as running in Airflow's tables, and its run as running
in `prediction_runs`. Entry points: `close_dead_runs`, if no such process can be alive, and
`close_dead_runs_if_alone`.
"""

from functools import partial

from sqlalchemy import NullPool, create_engine, text

from pipeline.local.postgres.databases import databases
from pipeline.orchestration import service_lock
from pipeline.settings import Settings

REASON = (
    "The process ended before a stage could say why: it was killed, or the machine was restarted."
    " Expected: every stage to finish, or to say what it needs."
    " What to do: run the week again, which is safe."
)


def close_dead_runs(settings: Settings) -> None:
    """Close as failed the runs that commands left as running. A scheduler takes up its own runs again.

    The caller holds a lock that keeps every other process of this home from running a DAG itself.
    """
    from pipeline.warehouse.runs import fail_unfinished

    with create_engine(databases(settings).airflow, poolclass=NullPool).begin() as connection:
        if connection.execute(text("SELECT to_regclass('dag_run')")).scalar() is None:
            return  # Airflow has no tables yet
        dead = text(
            "UPDATE dag_run SET state = 'failed', end_date = now()"
            " WHERE state = 'running' AND triggered_by = 'TEST' RETURNING run_id"
        )
        for airflow_run_id in connection.execute(dead).scalars().all():
            fail_unfinished(settings, airflow_run_id, REASON)


def close_dead_runs_if_alone(settings: Settings) -> None:
    """Close dead runs, unless the services are up or a command is running a DAG."""
    with service_lock.running_in_process(settings) as allowed:
        if allowed:
            with service_lock.counted_among_runs(settings, partial(close_dead_runs, settings)):
                pass
