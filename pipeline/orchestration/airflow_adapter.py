"""Stages as Airflow tasks: the one module that imports Airflow. `dags/` wires what is defined here.

A `Stage` calls a plain stage function with the settings, the handoffs of the tasks before it and the facts of the
run, and hands its result on through XCom. What it adds is what only an orchestrator can know: which week a run is
for, whether an error deserves a retry, what a stage cost, and that a run which died is recorded as failed.
`run_in_process` runs a whole DAG here and now, for the command line.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from airflow.listeners import hookimpl
from airflow.sdk import (
    DAG,
    BaseOperator,
    BaseOperatorLink,
    Context,
    DagRunState,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    XComArg,
)
from airflow.sdk.configuration import conf
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowSkipException
from pydantic import BaseModel, TypeAdapter

from pipeline.errors import BarometerError, RunError, TerminalError
from pipeline.models.predictions import Scored
from pipeline.orchestration.airflow_connections import lend_connections
from pipeline.orchestration.events import TaskEvent, Watch
from pipeline.orchestration.facts import FACTS, HANDOFF
from pipeline.orchestration.resource_use import ResourceUse, measured
from pipeline.settings import Settings, load_settings
from pipeline.weekly.handoffs import Plan

ERROR = "error"
"""XCom key of why a stage failed: found, expected, do."""
PEAK = "peak_mib"
"""XCom key of a task's peak memory."""

log = logging.getLogger(__name__)


class Refused(SystemExit):
    """A stage failed with an error that a person can act on and that stands in the log already.

    A SystemExit, because that is the one exception whose traceback Airflow keeps out of the task's log.
    """

    def __init__(self, error: BarometerError) -> None:
        super().__init__(1)
        self.error = error


class RefusedForGood(Refused):
    """The same, and a retry cannot mend it."""


RETRIES: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        [RetryRule([RefusedForGood, KeyboardInterrupt], RetryAction.FAIL, reason="a retry cannot mend it")]
    ),
}
"""Default arguments of every DAG: what died is tried again, what was refused for good is not."""


class Stage(BaseOperator):
    """A stage function as a task.

    Parameters
    ----------
    function
        `module:name` of the stage function; imported only when the task runs, so that parsing a DAG stays fast.
    inputs
        The handoffs that the function takes; see `handoffs`.
    shard
        The shard, for a task that is mapped over shards.
    fan_out
        Name of the count in the handoff that the next task is mapped over: the task's return value is then the list
        of numbers below it. (Airflow maps over return values only, so handoffs have a key of their own.)
    links
        Links shown beside the task.
    when
        Says of the run's params whether there is anything to do; the task is skipped when not.
    """

    template_fields: Sequence[str] = ("inputs",)
    ui_color = "#e8f1f8"

    def __init__(
        self,
        *,
        function: str,
        inputs: Mapping[str, XComArg] | None = None,
        shard: int | None = None,
        fan_out: str | None = None,
        links: Sequence[BaseOperatorLink] = (),
        when: Callable[[Mapping[str, Any]], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.when = when
        self.function = function
        self.inputs = dict(inputs or {})
        self.shard = shard
        self.fan_out = fan_out
        self.operator_extra_links = tuple(links)

    def execute(self, context: Context) -> list[int] | None:
        """Run the stage; hand on its result, or say why it failed."""
        if self.when and not self.when(context["params"]):
            raise AirflowSkipException("the params of this run ask for nothing here")
        with refusing(context):
            handoff = self._run(context)
        content = hand_on(context, handoff)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = content
        return list(range(content[self.fan_out])) if self.fan_out else None

    def _run(self, context: Context) -> BaseModel:
        settings = load_settings()
        lend_connections()
        function = _imported(self.function)
        arguments = self._arguments(function, settings, context)
        plan = arguments.get("plan")
        try:
            with measured() as use:
                handoff = function(settings, **arguments)
        except TerminalError as error:
            if isinstance(plan, Plan):
                _record_failure(settings, plan, error)
            raise
        context["ti"].xcom_push(PEAK, use.peak_mib)
        plan = handoff if isinstance(handoff, Plan) else plan
        if isinstance(plan, Plan) and self.shard is None:
            _record(settings, plan, self.task_id, handoff, use)
            if "scored" in arguments:
                _record_shards(settings, plan, arguments["scored"], context)
        return handoff

    def _arguments(self, function: Callable[..., BaseModel], settings: Settings, context: Context) -> dict[str, Any]:
        """Return what the function takes: facts of the run, the shard, and handoffs."""
        hints = get_type_hints(function)
        facts = {name: FACTS[name](settings, context) for name in hints if name in FACTS}
        shard = {} if self.shard is None else {"shard": self.shard}
        handed = {
            name: TypeAdapter(hints[name]).validate_python(list(value) if isinstance(value, Sequence) else value)
            for name, value in self.inputs.items()
        }
        return {**facts, **shard, **handed}


@contextmanager
def refusing(context: Context) -> Iterator[None]:
    """Say in the task's log why the block failed, keep it for who asks, and end the task without a traceback."""
    try:
        yield
    except BarometerError as error:
        for words, text in (("Found", error.found), ("Expected", error.expected), ("What to do", error.do)):
            log.error("%s: %s", words, text)  # noqa: TRY400 - a traceback helps nobody here
        context["ti"].xcom_push(ERROR, {"found": error.found, "expected": error.expected, "do": error.do})
        raise (RefusedForGood if isinstance(error, TerminalError) else Refused)(error) from None


def hand_on(context: Context, handoff: BaseModel) -> dict[str, Any]:
    """Hand a task's result on to those after it; return it as JSON."""
    content = handoff.model_dump(mode="json")
    log.info("Done: %s", ", ".join(f"{name} {value}" for name, value in content.items()))
    context["ti"].xcom_push(HANDOFF, content)
    return content


def handoffs(**tasks: BaseOperator | MappedOperator) -> dict[str, XComArg]:
    """Return a stage's `inputs`: by the function's parameter, the task whose handoff it gets."""
    return {name: XComArg(task, key=HANDOFF) for name, task in tasks.items()}


def record_death(context: Context) -> None:
    """Mark the run as failed when no stage could, being killed or timed out: a DAG's `on_failure_callback`."""
    from pipeline.warehouse import runs

    reason = (
        f"The DAG run {context['run_id']} ended ({context.get('reason')}) before a stage could say why."
        " Expected: every stage to finish, or to say what it needs."
        " What to do: read the log of the task that failed; running the week again is safe."
    )
    runs.fail_unfinished(load_settings(), context["run_id"], reason)


class Page(BaseOperatorLink):
    """A link to a page of the site that `make up` serves.

    Parameters
    ----------
    name
        The link's words.
    path
        The page below the site's root; `{week}`, or another fact of the run's plan, stands for itself.
    """

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._path = path

    @property
    def name(self) -> str:
        """The link's words."""
        return self._name

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address."""
        return f"link_{self._name}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the page's address."""
        rendered: dict[str, Any] = vars(operator).get("inputs", {})
        path = self._path.format(**rendered["plan"]) if "plan" in rendered else self._path
        return f"{load_settings().service.url}/{path}"


def _imported(name: str) -> Callable[..., BaseModel]:
    module, function = name.split(":")
    stage: Callable[..., BaseModel] = getattr(import_module(module), function)
    return stage


def _record(settings: Settings, plan: Plan, stage: str, handoff: BaseModel, use: ResourceUse) -> None:
    from pipeline.orchestration.run_facts import record_facts
    from pipeline.warehouse.runs import record_stage

    record_facts(settings, plan.run_id, handoff)
    record_stage(settings, plan.run_id, stage, use.seconds, use.peak_mib)


def _record_shards(settings: Settings, plan: Plan, scored: Sequence[Scored], context: Context) -> None:
    """Record the mapped stage as one: from the first shard's start to the last one's end, and the highest peak."""
    from pipeline.warehouse.runs import record_stage

    if not scored:
        return
    peaks = context["ti"].xcom_pull(task_ids=["score"], key=PEAK)
    seconds = (max(x.finished_at for x in scored) - min(x.started_at for x in scored)).total_seconds()
    record_stage(settings, plan.run_id, "score", seconds, max(peaks))


def _record_failure(settings: Settings, plan: Plan, error: TerminalError) -> None:
    from pipeline.warehouse import runs

    try:
        runs.fail_run(settings, plan.run_id, str(error))
    except BarometerError:
        log.warning("The run could not be marked as failed: the database does not answer.")


def run_in_process(dag_id: str, params: dict[str, Any], result_of: str, watch: Watch) -> dict[str, Any] | None:
    """Run a DAG in this process, one task after the other, with Airflow's own machinery.

    `airflow_environment` must have been in force before this module was imported.

    Parameters
    ----------
    dag_id
        The DAG.
    params
        Its params.
    result_of
        The task whose handoff is returned; None when the run failed.
    watch
        Told of every change of a task.
    """
    from airflow.sdk.listener import get_listener_manager

    _migrate()
    dag = _dag(dag_id)
    listener = _Listener(watch)
    get_listener_manager().add_listener(listener)  # type: ignore[no-untyped-call]
    try:
        run = dag.test(run_conf=params)
    finally:
        get_listener_manager().pm.unregister(listener)
    return _handoff_of(run.run_id, dag_id, result_of) if run.state == DagRunState.SUCCESS else None


def _migrate() -> None:
    """Bring Airflow's database up to date, which costs seconds, only when it is not."""
    from airflow.utils import db

    try:
        db.check_migrations(1)  # type: ignore[no-untyped-call]
    except TimeoutError:
        db.upgradedb()


def _dag(dag_id: str) -> DAG:
    from airflow.dag_processing.dagbag import BundleDagBag

    folder = conf.get("core", "dags_folder")
    bag = BundleDagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags-folder")
    if dag_id not in bag.dags:
        raise RunError(
            f"The DAG {dag_id} cannot be loaded: {bag.import_errors or 'it is not in ' + folder}.",
            "a DAG file that imports.",
            "mend what is named.",
        )
    return bag.dags[dag_id]


def _handoff_of(run_id: str, dag_id: str, task_id: str) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key=HANDOFF)
        handoff: dict[str, Any] = XComModel.deserialize_value(session.scalars(query).one())
    return handoff


class _Listener:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        self._watch(TaskEvent(task_instance.task_id, task_instance.map_index, "running"))

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self._watch(TaskEvent(task_instance.task_id, task_instance.map_index, "success"))

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any, error: BaseException | None) -> None:
        cause = error.error if isinstance(error, Refused) else error
        self._watch(TaskEvent(task_instance.task_id, task_instance.map_index, task_instance.state.value, cause))
