"""The weekly predictions: every Monday at 00:00 in the company's time zone, for the week before.

The stages are the functions in `pipeline.weekly`. `RecordedStage` makes tasks of them and keeps the
run's record. The last line shows their order.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param

from pipeline.orchestration.airflow_adapter import RETRIES, Page, handoffs
from pipeline.orchestration.dag_params import airflow_run_id, param, week_of_run
from pipeline.orchestration.recorded_stage import RecordedStage, record_death
from pipeline.settings import load_settings

settings = load_settings()
report_page = Page("Report", "reports/{plan[week]}.html")
data_docs = Page("Data Docs", "data_docs/{plan[run_id]}/index.html")

with DAG(
    dag_id="weekly_predictions",
    dag_display_name="Weekly predictions",
    description="From the week's raw files to published predictions and a report.",
    doc_md="""
Predicts how satisfied each customer is likely to be with each product in one week, and publishes
the predictions.

**Which week?** The run's logical date is the Monday that names the week. The param `week` overrides
it. A run that is triggered by hand with neither of them predicts the last complete week.

**Backfill:** set the clock at the bottom left to the company's time zone. Choose *Trigger →
Backfill*, from the first Monday 00:00 to the last Monday 00:00; the form shows the number of weeks.
To run weeks again that were backfilled or scheduled before, choose *All Runs*. Params are used only
if *Override parameters on existing runs* is ticked, also for new runs. Leave `week` empty. Readers
of a week see the old rows until all new rows are there.

**When a run fails**, the week that readers see has not changed. Open the log of the red task. Its
last lines say what was found, what was expected and what to do. Then clear the task, so that it and
the tasks after it run again, or trigger the week again. Running a week again is always safe: it
leaves exactly one set of rows. A task that was killed is retried automatically.
""",
    tags=["barometer", "predictions"],
    schedule=CronDataIntervalTimetable("0 0 * * 1", timezone=settings.timezone),
    start_date=datetime(2000, 1, 3, tzinfo=settings.zone),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args={"owner": "data team", "execution_timeout": timedelta(hours=3), **RETRIES},
    on_failure_callback=record_death,
    params={
        "week": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="Week",
            description="The Monday that names the week, as 2026-11-16. If empty: the run's own week.",
        ),
        "model": Param(
            "auto",
            type="string",
            pattern=r"^(auto|current|[1-9]\d*)$",
            examples=["auto", "current"],
            title="Model",
            description="auto: the version the week was published with, or else the one in force at its end. "
            "current: today's champion, with the challenger as in [routing]. Or a version's number.",
        ),
        "rebuild": Param(
            default=False,
            type="boolean",
            title="Rebuild the snapshot",
            description="Read the sources again, even if the week has a published snapshot. "
            "Needed after late or corrected data, or after a change of features.sql.",
        ),
    },
) as dag:
    plan = RecordedStage(
        task_id="plan",
        task_display_name="Plan the run",
        function="pipeline.weekly.plan:plan",
        arguments={
            "week": week_of_run,
            "model": param("model"),
            "rebuild": param("rebuild"),
            "airflow_run_id": airflow_run_id,
        },
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Decides the week, the model version, the challenger's part and whether the week's snapshot is
reused. The challenger's part is as in `[routing]`; a published week keeps its own. Opens the run's
record in `prediction_runs`. Every later task only reads this plan.

**If it fails:** the week has not ended yet, or no model was in force at its end. Wait or name a
past week; or train a model with `barometer train --as-of WEEK`, or trigger the run with the param
`model` set to `current`.
""",
    )
    ingest = RecordedStage(
        task_id="ingest",
        task_display_name="Ingest the sources",
        function="pipeline.weekly.ingest:ingest",
        inputs=handoffs(plan=plan),
        doc_md="""
Reads the sources that `pipeline.toml` declares and casts their columns. Lines that cannot be read
go to the table `rejects`, in full and with the reason. If the week's snapshot is reused, this task
does nothing.

**If it fails:** a file is absent or lacks a declared column, or a source has more new rejects than
its budget. Correct the feed. `SELECT * FROM rejects WHERE first_run_id = '…'` shows the rejects:
correct the file, or raise `reject_rows` or `reject_fraction`. Then clear this task.
""",
    )
    validate_sources = RecordedStage(
        task_id="validate_sources",
        task_display_name="Validate the sources",
        function="pipeline.weekly.validate_sources:validate_sources",
        inputs=handoffs(plan=plan, ingested=ingest),
        links=[data_docs],
        doc_md="""
Runs the suites in `expectations/sources/`. They check whether each feed is as large and as fresh as
in recent weeks, and whether its keys are there.

**If it fails:** a critical expectation failed. *Data Docs* (tab *Details*) shows which one, with
the observed value. Usually the delivery is incomplete or came twice. Get the right file and trigger
the week again. If the change is real, adapt the suite.
""",
    )
    features = RecordedStage(
        task_id="features",
        task_display_name="Make the features",
        function="pipeline.weekly.features:features",
        inputs=handoffs(plan=plan, ingested=ingest),
        fan_out="shards",
        doc_md="""
Runs `features.sql` as of the week's end and writes the snapshot: immutable Parquet shards with a
manifest. A published week keeps its snapshot unless the param `rebuild` is set.

**If it fails:** the SQL failed or broke its contract; the log says where. Correct it, then clear
this task. If the log says "Out of memory", raise `resources.duckdb_memory`.
""",
    )
    validate_features = RecordedStage(
        task_id="validate_features",
        task_display_name="Validate the features",
        function="pipeline.weekly.validate_features:validate_features",
        inputs=handoffs(plan=plan, snapshot=features),
        links=[data_docs],
        doc_md="""
Runs `expectations/features.json`. Subjects with impossible values go to the table `quarantine`,
with all their features and the reasons, and are not scored. Warnings are recorded and shown in the
report.

**If it fails:** a critical expectation on the whole table failed, or more subjects were quarantined
than `[budget]` allows. `SELECT reasons, count(*) FROM quarantine WHERE run_id = '…' GROUP BY 1`
shows why. Correct the data, the SQL or the suite, then trigger the week again with `rebuild`.
""",
    )
    score = RecordedStage.partial(
        task_id="score",
        task_display_name="Score a shard",
        function="pipeline.weekly.score:score",
        inputs=handoffs(plan=plan, snapshot=features, features_validated=validate_features),
        map_index_template="shard {{ task.shard + 1 }} of {{ task.inputs['snapshot']['shards'] }}",
        doc_md="""
Scores one shard of the snapshot with the planned model version: from plain arrays for the families
that Barometer trains, else from an ONNX file. The digests of its files are checked first; nothing
is unpickled. There is one task for each shard, each in bounded memory. In an A/B test the
challenger scores its customers. In shadow mode it scores every row; if it fails there, the task
`check` records a warning.

**If it fails:** a file of the snapshot or of the model version has changed. For the snapshot, run
the week again with `rebuild`. For the model, train a new version or name another one in the param
`model`.
""",
    ).expand(shard=features.output)
    check = RecordedStage(
        task_id="check",
        task_display_name="Check the predictions",
        function="pipeline.weekly.check:check",
        inputs=handoffs(plan=plan, snapshot=features, features_validated=validate_features, scored=score),
        shards=score,
        links=[data_docs],
        trigger_rule="none_failed",
        doc_md="""
The last check before readers see anything: every subject was predicted or quarantined exactly once,
every shard's file is the one that was written, each row was scored by its customer's model, and
`expectations/predictions.json` holds.

**If it fails:** nothing was published. *Data Docs* (tab *Details*) shows a failed expectation; the
log names a missing shard. Clear the task `score` to make its files again.
""",
    )
    publish = RecordedStage(
        task_id="publish",
        task_display_name="Publish the week",
        function="pipeline.weekly.publish:publish",
        inputs=handoffs(plan=plan, checked=check),
        outlets=[Asset(name="predictions", uri="barometer://warehouse/predictions", group="barometer")],
        doc_md="""
Loads the predictions and makes the week visible in one short transaction: readers see either the
old week or the new one, never a mix. Also exports the week as Parquet under `exports/`, and updates
the asset `predictions` with counts.

**If it fails:** the database does not answer or is full. Readers still see the old week. Clear the
task when the database is back: publishing twice is harmless.
""",
    )
    report = RecordedStage(
        task_id="report",
        task_display_name="Write the report",
        function="pipeline.weekly.report:report",
        inputs=handoffs(plan=plan, published=publish),
        links=[report_page],
        doc_md="""
Writes the week's report, one self-contained HTML page.

**If it fails:** the week is published nevertheless. Clear the task. `barometer report` prints where
the page is.
""",
    )

    plan >> ingest >> validate_sources >> features >> validate_features >> score >> check >> publish >> report
