"""Score a file of feature rows that someone hands in, with today's champion. It belongs to no week.

The stages are functions of `pipeline.batch_jobs`. The last line shows their order.
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
Scores the rows of one file with the current champion, and in an A/B test also with its challenger.
The service starts a run for each `POST /batch-predictions`, and the command `barometer score FILE`
for each file. A URI can be given here by hand.

The results are in `files/<job>/` of the home, with one line for each row of the file, in its order.
They never go to `predictions`. If a row cannot be read, or breaks a critical expectation on rows in
`expectations/features.json`, its line has the reason, and the row is among the rejects; all other
rows are scored. Expectations on the whole table do not apply, because there is no week. A job's
files are deleted `service.results_days` days after it ends.

**When a run fails**, there are no results: the file as a whole cannot be used, or no model is in
force. The log of the red task says what was found, what was expected and what to do. The client who
handed the file in reads the same text. Clearing the task is always safe. A failed run with a note
*cancelled by …* was cancelled by its owner.
""",
    tags=["barometer", "predictions"],
    schedule=None,
    catchup=False,
    max_active_runs=2,
    max_active_tasks=2,  # so that the weekly run keeps its share of the machine
    dagrun_timeout=timedelta(hours=12),
    default_args={"owner": "data team", "execution_timeout": timedelta(hours=3), **RETRIES},
    params={
        "file": Param(
            None,
            type=["null", "string"],
            pattern=RECEIVED_PATTERN,
            title="File",
            description="The name, below files/ of the home, of a file that was handed in. The service fills this in.",
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
            description="The file's format. If empty: as its name says (.csv, .jsonl, .parquet, each also with .gz).",
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
Finds the file, checks whether it may be read, and decides which model versions score it. Every
later task uses these.

**If it fails:** the URI is not below a prefix of `service.file_sources`, the file was deleted
because it expired, or there is no champion yet (`barometer train`).
""",
    )
    read = Stage(
        task_id="read",
        task_display_name="Read the file",
        function="pipeline.batch_jobs.file_rows:read_rows",
        inputs=handoffs(plan=plan),
        fan_out="shards",
        doc_md="""
Reads the file as text, casts its columns to the model's types, and writes its rows in shards, in
the file's order. Rows that cannot be read are kept with the reason.

**If it fails:** the file lacks one of the model's columns, is cut short, too large or in another
format; or the server at its URI does not return it. The client who handed it in has to correct it
and hand it in again.
""",
    )
    validate = Stage(
        task_id="validate",
        task_display_name="Validate the rows",
        function="pipeline.batch_jobs.row_validation:validate_rows",
        inputs=handoffs(plan=plan, file_rows=read),
        doc_md="""
Runs those expectations in `expectations/features.json` that look at each row by itself. Rows that
break a critical one are not scored.

**If it fails:** the suite is broken, which stops the weekly run too. Correct it, then clear this
task.
""",
    )
    score = Stage.partial(
        task_id="score",
        task_display_name="Score a shard",
        function="pipeline.batch_jobs.row_scoring:score_shard",
        inputs=handoffs(plan=plan, file_rows=read, rows_validated=validate),
        map_index_template="shard {{ task.shard + 1 }} of {{ task.inputs['file_rows']['shards'] }}",
        doc_md="""
Scores one shard with the same code as the weekly run. There is one task for each shard, each in
bounded memory.

**If it fails:** a file of the model version has changed since it was registered. Promote another
version and hand the file in again. If the task was killed too often, clear it.
""",
    ).expand(shard=read.output)
    finish = Stage(
        task_id="finish",
        task_display_name="Write the results",
        function="pipeline.batch_jobs.completion:complete_job",
        inputs=handoffs(plan=plan, file_rows=read, rows_validated=validate, scored=score),
        trigger_rule="none_failed",
        doc_md="""
Checks that each row of the file was predicted or rejected exactly once, and writes results and
rejects in the file's order. Deletes the files of expired jobs.

**If it fails:** a file disappeared or changed during the run. Clear *Read the file* and all tasks
after it.
""",
    )

    plan >> read >> validate >> score >> finish
