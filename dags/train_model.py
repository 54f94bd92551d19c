"""Train a model version from past weeks, register it and, if asked, promote it.

The stages are functions of `pipeline.training` and `pipeline.promotion`. The last line shows their
order.
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

The first version becomes the champion, in force from its training cutoff on. A later version is
only registered, unless `promote` is ticked: then it must pass the gate, and a person must approve
it if `[promotion] approval` is on. If the param `version` names a registered version, nothing is
trained, and only the promotion of that version runs. The param `as_of` names the last week that the
model may know: `barometer train --as-of 2026-03-02` makes a model for backfilling the weeks after
it.

**When a run fails** before *Register the version*, nothing was registered; when it fails after it,
nothing was promoted. The log of the red task says what was found, what was expected and what to do.
Training again is safe: the same data and code give another version with the same predictions.
""",
    tags=["barometer", "model"],
    schedule=None,
    catchup=False,
    max_active_runs=4,  # a run that waits for an approval must not hold up the others
    dagrun_timeout=timedelta(days=8),
    default_args={"owner": "data science", "execution_timeout": timedelta(hours=6), **RETRIES},
    params={
        "as_of": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="As of",
            description="The Monday of the last week the model may know. If empty: the last complete week.",
        ),
        "pipeline": Param(
            None,
            type=["null", "string"],
            title="Own pipeline",
            description="A file that skops wrote, on the machine that trains. Its scikit-learn pipeline is fitted, and"
            " there is no search.",
        ),
        "promote": Param(
            default=False,
            type="boolean",
            title="Promote it",
            description="Continue with the gate, the approval and the promotion of the new version.",
        ),
        "version": Param(
            None,
            type=["null", "string"],
            pattern=r"^[1-9]\d*$",
            title="Version",
            description="Train nothing, and promote this registered version.",
        ),
        "role": Param(
            "champion",
            type="string",
            enum=["champion", "challenger"],
            title="Role",
            description="champion: the current version. challenger: the version beside it (see [routing]).",
        ),
        "from_week": Param(
            None,
            type=["null", "string"],
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            title="From week",
            description="The Monday of the first week in which it is in force. If empty: the last complete week.",
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

**If it fails:** the named week has not ended yet, or there is too little history before it. See
`[model]` in `pipeline.toml` (`training_weeks`, `maturity_weeks`).
""",
    )
    collect = Stage(
        task_id="collect",
        task_display_name="Collect the training set",
        function="pipeline.training.collect:collect",
        inputs=handoffs(plan=plan),
        doc_md="""
Runs `features.sql` at each past cutoff and joins the labels that were known by the training cutoff.

**If it fails:** `labels.sql` failed or returned too few labels for those weeks. Run it by itself;
perhaps the labels have not arrived yet.
""",
    )
    tune = Stage(
        task_id="tune",
        task_display_name="Search for the best parameters",
        function="pipeline.training.tune:tune",
        inputs=handoffs(plan=plan, training_set=collect),
        doc_md="""
Tries candidates of a logistic regression and of gradient boosting by successive halving: many on
few rows, the best on all rows. Each candidate is validated on train weeks after those it learned
from. The log lists every candidate. The time limit is `minutes` in `[tuning]`.

**If it fails:** `[tuning.space]` has a parameter that the classifier does not accept, or there are
too few weeks or labels. The log says which.
""",
    )
    fit = Stage(
        task_id="fit",
        task_display_name="Fit the pipeline",
        function="pipeline.training.fit:fit",
        inputs=handoffs(plan=plan, training_set=collect, tuned=tune),
        doc_md="""
Fits the scikit-learn pipeline, preprocessing included, calibrates it on the validation weeks,
compiles it to ONNX and compares the two on many rows, including nulls and unseen categories.

**If it fails:** the training set has only one class of labels or no usable feature (see
`labels.sql`), or the two differ, so the version is refused. The log names the column.
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
Writes the version to MLflow (scikit-learn as skops, ONNX, signature, metrics, digests). The first
version becomes the champion.

**If it fails:** MLflow's database does not answer. Clear the task when it is back. Registering
twice finds the same version.
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
Writes a page about the version: what it learned from, what cleaning left out, how the search went
and how good the version is. Read it before you approve a promotion.

**If it fails:** the version is registered nevertheless. Clear the task; the page is made from files
only.
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
Compares the version with the champion on the version's own test weeks. Checks its files, features,
calibration, products, segments and speed, and that no feature gives the answer away. The verdict is
in `model_promotions`.

**If it fails:** the version is refused; the log says which check failed, and by how much. Train a
better version. Or, with good reason, change the limits in `[promotion]` of `pipeline.toml`, and
trigger the run again with its `version`.
""",
    )
    approve = Approval(
        task_id="approve",
        task_display_name="Ask a person",
        inputs=handoffs(gated=gate),
        doc_md="""
If `[promotion] approval` is on, waits for a person's answer: *Browse → Required Actions*, or the
tab *Required Actions* of this task. *Reject* ends the run without a promotion. The answer, the
person and the comment are recorded in `model_promotions`. If approval is off, the task passes at
once.

**If it fails:** there was no answer within seven days; or a command runs the DAG without the
services of `make up`, so that it cannot ask. Trigger the run again with the version.
""",
    )
    promote = Stage(
        task_id="promote",
        task_display_name="Promote the version",
        function="pipeline.promotion.promote:promote",
        inputs=handoffs(gated=gate, approved=approve),
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Moves the alias in MLflow. An entry in `model_promotions` is written before and completed
afterwards.

**If it fails:** the champion or the version has changed since the gate, or a database does not
answer. In the first case ask for the promotion again, in the second clear the task when the
database is back. Trying again is harmless.
""",
    )

    plan >> collect >> tune >> fit >> evaluate >> register >> report >> gate >> approve >> promote
