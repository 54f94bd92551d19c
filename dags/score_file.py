"""Score a file: feature rows that somebody hands in, by today's champion; beside the weekly run and without a week.

The stages are functions of `pipeline.batch_jobs`; the last line is the diagram.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from pipeline.batch_jobs.places import DAG_ID, FORMATS, RECEIVED_PATTERN
from pipeline.orchestration.airflow_adapter import RETRIES, Stage, handoffs
from pipeline.orchestration.dag_params import airflow_run_id, param

with DAG(
    dag_id=DAG_ID,
    dag_display_name="Score a file",
    description="From a file of feature rows to one prediction for each row, in the file's order.",
    doc_md="""
Scores the rows of one file with the current champion (and in an A/B test its challenger). The service starts a run for
each `POST /batch-predictions`, the command `barometer score FILE` for each file; a URI can be given here by hand.

The results lie in `files/<job>/` of the home, with one line for each row of the file, in its order; they never come
into `predictions`. A row that cannot be read, or breaks a critical row-level expectation of
`expectations/features.json`, has the reason in its line and stands in the rejects; it costs no other row its
prediction. Expectations on the table as a whole do not apply, since there is no week. `service.results_days` after its
end a job's files are swept.

**When a run fails** there are no results: the file as a whole is not what it should be, or no model is in force. The
red task's log says what was found, what was expected and what to do; whoever handed the file in reads the same words.
Clearing the task is always safe. A failed run with a note *cancelled by …* was cancelled by its owner.
""",
    tags=["barometer", "predictions"],
    schedule=None,
    catchup=False,
    max_active_runs=2,
    max_active_tasks=2,  # the weekly run keeps its share of the machine
    dagrun_timeout=timedelta(hours=12),
    default_args={"owner": "data team", "execution_timeout": timedelta(hours=3), **RETRIES},
    params={
        "file": Param(
            None,
            type=["null", "string"],
            pattern=RECEIVED_PATTERN,
            title="File",
            description="A file that was handed in, by its name below files/ of the home. The service fills this in.",
        ),
        "uri": Param(
            None,
            type=["null", "string"],
            maxLength=2000,
            title="URI",
            description="Instead, the address of a file below a prefix that service.file_sources lists.",
        ),
        "format": Param(
            None,
            type=["null", "string"],
            enum=[None, *FORMATS],
            title="Format",
            description="Of the file; empty: as its name says (.csv, .jsonl, .parquet, each also with .gz).",
        ),
    },
) as dag:
    plan = Stage(
        task_id="plan",
        task_display_name="Plan the scoring",
        function="pipeline.batch_jobs.file_plan:plan_file",
        arguments={
            "file": param("file"),
            "uri": param("uri"),
            "file_format": param("format"),
            "airflow_run_id": airflow_run_id,
        },
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Decides which file it is, whether it may be read, and which model versions score it; every later task uses these.

**If it fails:** the URI is not below a prefix of `service.file_sources`, the file was swept, or there is no champion
yet (`barometer train`).
""",
    )
    read = Stage(
        task_id="read",
        task_display_name="Read the file",
        function="pipeline.batch_jobs.file_rows:read_rows",
        inputs=handoffs(plan=plan),
        fan_out="shards",
        doc_md="""
Reads the file as text, casts its columns as the model takes them, and writes its rows in shards, in the file's order.
Rows that cannot be read are kept with the reason.

**If it fails:** the file lacks one of the model's columns, is cut short, too large, or not of its format; or the server
at its address does not answer with it. Whoever handed it in has to mend it and hand it in again.
""",
    )
    validate = Stage(
        task_id="validate",
        task_display_name="Validate the rows",
        function="pipeline.batch_jobs.row_validation:validate_rows",
        inputs=handoffs(plan=plan, file_rows=read),
        doc_md="""
Runs those expectations of `expectations/features.json` that are about each row alone; rows that break a critical one
are not scored.

**If it fails:** the suite is broken, as it would be for the weekly run: mend it, then clear this task.
""",
    )
    score = Stage.partial(
        task_id="score",
        task_display_name="Score a shard",
        function="pipeline.batch_jobs.row_scoring:score_shard",
        inputs=handoffs(plan=plan, file_rows=read, rows_validated=validate),
        map_index_template="shard {{ task.shard + 1 }} of {{ task.inputs['file_rows']['shards'] }}",
        doc_md="""
Turns one shard into predictions, by the same code as the weekly run. One task for each shard, each in bounded memory.

**If it fails:** a file of the model version is not what was registered: promote another version and hand the file in
again. Clear the task when it was killed too often.
""",
    ).expand(shard=read.output)
    finish = Stage(
        task_id="finish",
        task_display_name="Write the results",
        function="pipeline.batch_jobs.completion:complete_job",
        inputs=handoffs(plan=plan, file_rows=read, rows_validated=validate, scored=score),
        trigger_rule="none_failed",
        doc_md="""
Checks that each row of the file was predicted or rejected, exactly once, and writes results and rejects in the file's
order. Sweeps the files of jobs that have expired.

**If it fails:** a file is gone or was changed while the run worked: clear *Read the file* with all that follows it.
""",
    )

    plan >> read >> validate >> score >> finish
