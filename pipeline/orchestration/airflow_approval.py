"""A person's approval of a promotion, as a task: a form in Airflow's UI, whose answer goes to the history.

The entry point is `Approval`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context, Param, XComArg

from pipeline.errors import ModelError, RunError
from pipeline.orchestration.airflow_adapter import hand_on, refusing
from pipeline.orchestration.dag_params import is_in_process
from pipeline.promotion.handoffs import Approved, Gated
from pipeline.settings import load_settings

DAYS = 7
"""After this time the gate's findings are too old to decide by."""
COMMENT = Param("", type="string", title="Comment", description="For the history of promotions.", source="task")


class Approval(ApprovalOperator):
    """Asks a person whether to promote a version that passed the gate, if the configuration demands it.

    Its input is the handoff `gated`. If the person approves, or if no approval is configured, it hands on an
    `Approved`. If the person rejects, the tasks after it are skipped.
    """

    template_fields = (*ApprovalOperator.template_fields, "inputs")

    def __init__(self, *, inputs: Mapping[str, XComArg], **kwargs: Any) -> None:
        own = {
            "subject": "May this model version be promoted?",
            "params": {"comment": COMMENT},
            "execution_timeout": None,  # Airflow would take it for the time to answer
            "response_timeout": timedelta(days=DAYS),
        }
        super().__init__(**{**kwargs, **own})  # kwargs hold the DAG's params and default arguments too
        self.inputs = dict(inputs)

    def execute(self, context: Context) -> None:
        """Ask, or pass at once if no approval is configured."""
        gated = Gated.model_validate(self.inputs["gated"])
        if not load_settings().promotion.approval:
            hand_on(context, Approved(approved=True, decided_by=gated.asked_by))
            return
        with refusing(context):
            if is_in_process(context):
                raise RunError(
                    f"The promotion of version {gated.version} needs a person's approval. A command cannot ask for it.",
                    "Airflow's services, whose UI asks for it.",
                    f"make up, then barometer promote {gated.version}.",
                )
        self.subject = f"Promote version {gated.version} to {gated.role}?"
        self.body = _description(gated)
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the person's answer, or end the promotion if there is none."""
        from pipeline.promotion.promote import reject

        gated = Gated.model_validate(self.inputs["gated"])
        if "error" in event:
            answer = Approved(approved=False, decided_by="nobody", comment=f"no answer within {DAYS} days")
        else:
            answer = Approved(
                approved=event["chosen_options"] == [self.APPROVE],
                decided_by=(event["responded_by_user"] or {}).get("name", "unknown"),
                comment=(event["params_input"] or {}).get("comment", ""),
            )
        with refusing(context):
            if not answer.approved:
                reject(load_settings(), gated, decided_by=answer.decided_by, comment=answer.comment)
            if "error" in event:
                raise ModelError(
                    f"Nobody answered within {DAYS} days whether to promote version {gated.version}.",
                    "a person's approval.",
                    f"ask again: barometer promote {gated.version}.",
                )
        hand_on(context, answer)
        return super().execute_complete(context, event)


def _description(gated: Gated) -> str:
    """Return what a person needs to know to decide, as Markdown."""
    checks = "\n".join(f"- {words}" for words in gated.checks)
    return (
        f"{gated.asked_by} asks to make version **{gated.version}** the **{gated.role}**, from the week"
        f" {gated.from_week} on: {gated.reason}.\n\nThe gate found:\n\n{checks}\n\nMore with"
        f" `barometer models show {gated.version}`, or in MLflow."
    )
