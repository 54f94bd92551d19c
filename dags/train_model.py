"""Train a model version: from past weeks' features and the labels known by then to an entry in the registry.

The stages are functions of `pipeline.training`; the last line is the diagram.
"""

from datetime import timedelta

from airflow.sdk import DAG, Asset, Param

from pipeline.orchestration.airflow_adapter import RETRIES, Stage, handoffs

with DAG(
    dag_id="train_model",
    dag_display_name="Train a model",
    description="From past weeks to a version in the model registry.",
    doc_md="""
Trains a model version on past weeks, evaluates it on the latest of them and registers it in MLflow.

The first version becomes the champion, from its training cutoff on; a later one is only registered.
The param `as_of` names the last week that the model may know: `barometer train --as-of 2026-03-02` makes a model for
backfilling the weeks after it.

**When a run fails** nothing was registered. The red task's log says what was found, what was expected and what to do.
Training again is safe: the same data and code give another version with the same predictions.
""",
    tags=["barometer", "model"],
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args={"owner": "data science", "execution_timeout": timedelta(hours=6), **RETRIES},
    params={
        "as_of": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="As of",
            description="The Monday of the last week the model may know. Empty: the last complete week.",
        ),
    },
) as dag:
    plan = Stage(
        task_id="plan",
        task_display_name="Plan the training",
        function="pipeline.training.plan:plan_training",
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Decides the training cutoff and which weeks train, validate and test.

**If it fails:** the week named has not ended yet, or there is too little history before it: see `[model]` in
`pipeline.toml` (`training_weeks`, `maturity_weeks`).
""",
    )
    collect = Stage(
        task_id="collect",
        task_display_name="Collect the training set",
        function="pipeline.training.collect:collect",
        inputs=handoffs(plan=plan),
        doc_md="""
Runs `features.sql` at each past cutoff and joins the labels that were known by the training cutoff.

**If it fails:** `labels.sql` failed or returned too few labels for those weeks. Try it on its own; labels may not have
arrived yet.
""",
    )
    fit = Stage(
        task_id="fit",
        task_display_name="Fit the pipeline",
        function="pipeline.training.fit:fit",
        inputs=handoffs(plan=plan, training_set=collect),
        doc_md="""
Fits the scikit-learn pipeline, preprocessing included, calibrates it on the validation weeks, compiles it to ONNX and
compares the two on many rows, nulls and unseen categories among them.

**If it fails:** the training set has only one class of labels or no usable feature (look at `labels.sql`), or the two
differ, so that the version is refused: the log names the column.
""",
    )
    evaluate = Stage(
        task_id="evaluate",
        task_display_name="Evaluate on the test weeks",
        function="pipeline.training.evaluate:evaluate",
        inputs=handoffs(plan=plan, training_set=collect, fitted=fit),
        doc_md="""
Measures the compiled model on the test weeks, which neither fitting nor calibration has seen.

**If it fails:** the test weeks have too few labels. Raise `test_weeks`, or wait for more answers.
""",
    )
    register = Stage(
        task_id="register",
        task_display_name="Register the version",
        function="pipeline.training.register:register",
        inputs=handoffs(plan=plan, evaluated=evaluate),
        outlets=[Asset(name="model_version", uri="barometer://registry/model", group="barometer")],
        doc_md="""
Writes the version to MLflow (scikit-learn as skops, ONNX, signature, metrics, digests). The first version becomes the
champion.

**If it fails:** MLflow's database does not answer. Clear the task once it is back: registering twice finds the
same version.
""",
    )

    plan >> collect >> fit >> evaluate >> register
