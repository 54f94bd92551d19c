"""Stages that keep their run's record, `prediction_runs`: its facts, costs and failures.

A stage of the weekly run only returns its handoff. `pipeline.orchestration.run_facts` takes from it what the record
needs, and it is written here, together with the stage's cost, in one transaction. Stages themselves write only evidence
that must be committed before they stop a run: rejects, quarantine, a failing verdict. (`publish` marks its run as
published in the transaction that makes the week visible.)

Entry points: `RecordedStage`, and `record_death` for a DAG's `on_failure_callback`.
"""

import logging
from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context, XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator
from pydantic import BaseModel

from pipeline.errors import BarometerError, TerminalError
from pipeline.orchestration.airflow_adapter import COST, Stage
from pipeline.orchestration.resource_use import ResourceUse
from pipeline.settings import Settings, load_settings

log = logging.getLogger(__name__)


class RecordedStage(Stage):
    """A stage of the weekly run, whose facts, cost and failure go to the run's record.

    `shards` is the mapped task before this one, if any. Its tasks run at the same time and are recorded as one.
    """

    template_fields: Sequence[str] = (*Stage.template_fields, "shard_costs")

    def __init__(self, *, shards: MappedOperator | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sharded_task = shards.task_id if shards else ""
        self.shard_costs: Any = XComArg(shards, key=COST) if shards else []

    def finished(self, settings: Settings, arguments: dict[str, Any], handoff: BaseModel, cost: ResourceUse) -> None:
        """Record the stage's facts and its cost, with that of the shards before it."""
        from pipeline.orchestration.run_facts import run_facts
        from pipeline.warehouse.runs import record_stages

        if self.shard is not None:
            return
        plan = arguments.get("plan", handoff)
        costs = {self.task_id: cost}
        if shards := [ResourceUse(**shard) for shard in self.shard_costs]:
            costs[self.sharded_task] = _of_all(shards)
        record_stages(
            settings,
            plan.run_id,
            seconds={task: cost.seconds for task, cost in costs.items()},
            peak_mib={task: cost.peak_mib for task, cost in costs.items()},
            facts=run_facts(plan, handoff),
        )

    def failed(self, settings: Settings, arguments: dict[str, Any], error: TerminalError) -> None:
        """Close the run as failed, with the reason."""
        from pipeline.warehouse.runs import fail_run

        if "plan" not in arguments:
            return  # the run has no plan yet, and the stage `plan` has closed it
        try:
            fail_run(settings, arguments["plan"].run_id, str(error))
        except BarometerError:
            log.warning("The run could not be marked as failed: the database does not answer.")


def record_death(context: Context) -> None:
    """Mark the run as failed when no stage could, because its process was killed or timed out."""
    from pipeline.warehouse.runs import fail_unfinished

    reason = (
        f"The DAG run {context['run_id']} ended ({context.get('reason')}) before a stage could say why."
        " Expected: every stage to finish, or to say what it needs."
        " What to do: read the log of the task that failed; running the week again is safe."
    )
    fail_unfinished(load_settings(), context["run_id"], reason)


def _of_all(shards: Sequence[ResourceUse]) -> ResourceUse:
    """Return the cost of all shards: from the first start to the last end, with the highest peak."""
    start = min(shard.started_at for shard in shards)
    end = max(shard.started_at + shard.seconds for shard in shards)
    return ResourceUse(start, end - start, max(shard.peak_mib for shard in shards))
