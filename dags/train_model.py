"""Train a model version: from past weeks' features and the labels known by then to an entry in the registry.

The stages are functions of `pipeline.training`; the last line is the diagram.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Param

from pipeline.orchestration.airflow_adapter import HANDOFF, RETRIES, Page, Stage, handoffs
from pipeline.orchestration.airflow_approval import Approval
from pipeline.orchestration.dag_params import Context, airflow_run_id, asked_by, param
from pipeline.settings import Settings
from pipeline.weeks import Week


def version(_settings: Settings, context: Context) -> Any:
    """Return the version that the params name, else the one that this run has registered."""
    return context["params"]["version"] or context["ti"].xcom_pull(task_ids="register", key=HANDOFF)["version"]


with DAG(
    dag_id="train_model",
    dag_display_name="Train a model",
    description="From past weeks to a version in the model registry.",
    doc_md="""
Trains a model version on past weeks, evaluates it on the latest of them and registers it in MLflow.

The first version becomes the champion, from its training cutoff on; a later one is only registered, unless `promote` is
ticked: then it has to pass the gate, and a person where that is configured. The param `version` names one that is
registered already: nothing is trained, only its promotion is gone through.
The param `as_of` names the last week that the model may know: `barometer train --as-of 2026-03-02` makes a model for
backfilling the weeks after it.

**When a run fails** before *Register the version*, nothing was registered; after it, nothing was promoted. The red
task's log says what was found, what was expected and what to do. Training again is safe: the same data and code give
another version with the same predictions.
""",
    tags=["barometer", "model"],
    schedule=None,
    catchup=False,
    max_active_runs=4,  # one that waits for an approval must not hold up the others
    dagrun_timeout=timedelta(days=8),
    default_args={"owner": "data science", "execution_timeout": timedelta(hours=6), **RETRIES},
    params={
        "as_of": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="As of",
            description="The Monday of the last week the model may know. Empty: the last complete week.",
        ),
        "pipeline": Param(
            None,
            type=["null", "string"],
            title="Own pipeline",
            description="A file that skops wrote, on the machine that trains: its scikit-learn pipeline is fitted"
            " instead of searching for one.",
        ),
        "promote": Param(
            default=False,
            type="boolean",
            title="Promote it",
            description="Go on with the new version to the gate, the approval and the promotion.",
        ),
        "version": Param(
            None,
            type=["null", "string"],
            pattern=r"^[1-9]\d*$",
            title="Version",
            description="Train nothing; promote this version of the registry.",
        ),
        "role": Param(
            "champion",
            type="string",
            enum=["champion", "challenger"],
            title="Role",
            description="What it is to be: the current version, or one beside it (see [routing]).",
        ),
        "from_week": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="From week",
            description="The Monday of the first week it is to be in force. Empty: the last complete week.",
        ),
        "reason": Param(
            None, type=["null", "string"], title="Reason", description="Why, for the history of promotions."
        ),
    },
) as dag:
    plan = Stage(
        task_id="plan",
        task_display_name="Plan the training",
        function="pipeline.training.training_plan:plan_training",
        arguments={
            "as_of": param("as_of", Week.parse),
            "pipeline": param("pipeline", Path),
            "airflow_run_id": airflow_run_id,
        },
        when=lambda params: not params["version"],
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
    tune = Stage(
        task_id="tune",
        task_display_name="Search for the best parameters",
        function="pipeline.training.tune:tune",
        inputs=handoffs(plan=plan, training_set=collect),
        doc_md="""
Tries candidates of a logistic regression and of gradient boosting by successive halving: many on few rows, the best on
all. Each validates on train weeks after those it learnt from. The log tells of every candidate; the budget is `minutes`
in `[tuning]`.

**If it fails:** `[tuning.space]` names what the classifier does not take, or there are too few weeks or labels; the log
says which.
""",
    )
    fit = Stage(
        task_id="fit",
        task_display_name="Fit the pipeline",
        function="pipeline.training.fit:fit",
        inputs=handoffs(plan=plan, training_set=collect, tuned=tune),
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

    report = Stage(
        task_id="report",
        task_display_name="Write the training report",
        function="pipeline.training.training_report:training_report",
        inputs=handoffs(plan=plan, training_set=collect, evaluated=evaluate, registered=register),
        links=[Page("Training report", "training/{plan[training_id]}.html")],
        execution_timeout=timedelta(hours=1),
        doc_md="""
Writes the page that tells what the version learned from, what cleaning left out, how the search went and how good the
version is; read it before approving a promotion.

**If it fails:** the version is registered all the same. Clear the task: the page is made from files alone.
""",
    )

    gate = Stage(
        task_id="gate",
        task_display_name="Judge the version",
        function="pipeline.promotion.gate:gate",
        arguments={
            "version": version,
            "role": param("role"),
            "from_week": param("from_week", Week.parse),
            "reason": param("reason"),
            "asked_by": asked_by,
            "airflow_run_id": airflow_run_id,
        },
        when=lambda params: params["promote"] or params["version"],
        trigger_rule="none_failed",
        execution_timeout=timedelta(hours=1),
        doc_md="""
Compares the version with the champion on the version's own test weeks, and checks its files, its features, its
calibration, its products and segments, its speed, and that it has not seen the answer. The verdict stands in
`model_promotions`.

**If it fails:** the version is refused; the log says which check failed, by how much. Train a better one, or change the
limits in `[promotion]` of `pipeline.toml` with good reason, and trigger the run again with its `version`.
""",
    )
    approve = Approval(
        task_id="approve",
        task_display_name="Ask a person",
        inputs=handoffs(gated=gate),
        doc_md="""
Where `[promotion] approval` is on, waits for a person's answer: *Browse → Required Actions*, or the tab *Required
Actions* of this task. *Reject* ends the run without a promotion; the answer, by whom and the comment stand in
`model_promotions`. Where it is off, the task passes at once.

**If it fails:** nobody answered within seven days, or the run is not one of the services of `make up`, so that nobody
can answer. Trigger the run again with the version.
""",
    )
    promote = Stage(
        task_id="promote",
        task_display_name="Promote the version",
        function="pipeline.promotion.promote:promote",
        inputs=handoffs(gated=gate, approved=approve),
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Moves the alias in MLflow, with an entry in `model_promotions` written before and completed after it.

**If it fails:** the champion or the version has changed since the gate, so ask for the promotion again; or a database
does not answer: clear the task once it is back. Trying again is harmless.
""",
    )

    plan >> collect >> tune >> fit >> evaluate >> register >> report >> gate >> approve >> promote
