"""A DAG of small stages that fail in every way, to try the adapter with."""

from airflow.sdk import DAG, Param

from pipeline.orchestration.airflow_adapter import RETRIES, Stage, handoffs
from pipeline.orchestration.dag_params import airflow_run_id, param, week_of_run

with DAG(
    dag_id="trial",
    schedule=None,
    default_args=RETRIES,
    params={
        "week": Param(None, type=["null", "string"]),
        "model": Param("well", type="string", description="How it shall go."),
    },
) as dag:
    first = Stage(
        task_id="first",
        function="tests.dags.trial_stages:first",
        arguments={"week": week_of_run, "model": param("model"), "airflow_run_id": airflow_run_id},
        fan_out="shards",
    )
    second = Stage.partial(
        task_id="second",
        function="tests.dags.trial_stages:second",
        inputs=handoffs(started=first),
        map_index_template="shard {{ task.shard + 1 }} of {{ task.inputs['started']['shards'] }}",
    ).expand(shard=first.output)
    third = Stage(
        task_id="third",
        function="tests.dags.trial_stages:third",
        inputs=handoffs(started=first, counted=second),
        trigger_rule="none_failed",
    )

    first >> second >> third
