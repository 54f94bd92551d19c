"""Stages as Airflow tasks. The files in `dags/` wire them.

A `Stage` calls a plain stage function with the settings, the handoffs of the tasks before it and
the arguments that its DAG takes from the run, and hands the result on through XCom. It adds what
only an orchestrator can know: whether an error deserves a retry, and what a stage cost.

Only the modules `airflow_*` and `recorded_stage` import Airflow. Entry points: `Stage`, `handoffs`, `Page`, `RETRIES`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pkgutil import resolve_name
from typing import Any, get_type_hints

from airflow.sdk import (
    BaseOperator,
    BaseOperatorLink,
    Context,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    XComArg,
)
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowSkipException
from pydantic import BaseModel, TypeAdapter

from pipeline.errors import BarometerError, TerminalError
from pipeline.orchestration.airflow_connections import lend_connections
from pipeline.orchestration.dag_params import Argument
from pipeline.orchestration.resource_use import ResourceUse, measured
from pipeline.settings import Settings, load_settings

ERROR = "error"
"""XCom key of why a stage failed: found, expected, do."""
COST = "cost"
"""XCom key of a shard's `ResourceUse`, which the task after the shards records."""
HANDOFF = "handoff"
"""XCom key of a stage's result."""

log = logging.getLogger(__name__)


class Refused(SystemExit):
    """A stage failed with an error that is in the log and that a person can act on.

    It is a SystemExit because that is the only exception whose traceback Airflow keeps out of the task's log.
    """

    def __init__(self, error: BarometerError) -> None:
        super().__init__(1)
        self.error = error


class RefusedForGood(Refused):
    """A stage failed with an error that no retry can fix."""


RETRIES: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        [RetryRule([RefusedForGood, KeyboardInterrupt], RetryAction.FAIL, reason="a retry cannot fix it")]
    ),
}
"""Default arguments of every DAG: a task that died is retried, one that was refused for good is not."""


class Stage(BaseOperator):
    """A stage function as a task.

    Parameters
    ----------
    function
        `module:name` of the stage function. It is imported only when the task runs, so that parsing a DAG stays fast.
    inputs
        The function's arguments that are handoffs of other tasks; see `handoffs`.
    arguments
        Its other arguments: for each a function of the settings and the context, as
        `pipeline.orchestration.dag_params` has them.
    shard
        The shard, for a task that is mapped over shards.
    fan_out
        Name of the count in the handoff that the next task is mapped over. The task's return value is then the list of
        numbers below it. (Airflow maps over return values only, so handoffs have a key of their own.)
    links
        Links shown beside the task.
    when
        Says from the run's params whether there is anything to do; if not, the task is skipped.
    """

    template_fields: Sequence[str] = ("inputs",)
    ui_color = "#e8f1f8"

    def __init__(
        self,
        *,
        function: str,
        inputs: Mapping[str, XComArg] | None = None,
        arguments: Mapping[str, Argument] | None = None,
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
        self.arguments = dict(arguments or {})
        self.shard = shard
        self.fan_out = fan_out
        self.operator_extra_links = tuple(links)

    def execute(self, context: Context) -> list[int] | None:
        """Run the stage and hand on its result, or log why it failed."""
        if self.when and not self.when(context["params"]):
            raise AirflowSkipException("the params of this run ask for nothing here")
        with refusing(context):
            handoff = self._run(context)
        content = hand_on(context, handoff)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = content
        return list(range(content[self.fan_out])) if self.fan_out else None

    def finished(self, settings: Settings, arguments: dict[str, Any], handoff: BaseModel, cost: ResourceUse) -> None:
        """Do nothing. A subclass may take note of what the stage returned and cost."""

    def failed(self, settings: Settings, arguments: dict[str, Any], error: TerminalError) -> None:
        """Do nothing. A subclass may take note of an error that no retry can fix."""

    def _run(self, context: Context) -> BaseModel:
        settings = load_settings()
        lend_connections()
        function: Callable[..., BaseModel] = resolve_name(self.function)
        arguments = self._values(function, settings, context)
        try:
            with measured() as cost:
                handoff = function(settings, **arguments)
        except TerminalError as error:
            self.failed(settings, arguments, error)
            raise
        if self.shard is not None:
            context["ti"].xcom_push(COST, asdict(cost))
        self.finished(settings, arguments, handoff, cost)
        return handoff

    def _values(self, function: Callable[..., BaseModel], settings: Settings, context: Context) -> dict[str, Any]:
        """Return all arguments but the settings; handoffs get the types that the function declares."""
        hints = get_type_hints(function)
        handed = {
            name: TypeAdapter(hints[name]).validate_python(list(value) if isinstance(value, Sequence) else value)
            for name, value in self.inputs.items()
        }
        values = {name: argument(settings, context) for name, argument in self.arguments.items()}
        shard = {} if self.shard is None else {"shard": self.shard}
        return {**handed, **values, **shard}


@contextmanager
def refusing(context: Context) -> Iterator[None]:
    """Log why the block failed, keep the reason in XCom, and end the task without a traceback."""
    try:
        yield
    except BarometerError as error:
        for words, text in (("Found", error.found), ("Expected", error.expected), ("What to do", error.do)):
            log.error("%s: %s", words, text)  # noqa: TRY400 - the three parts say it all
        context["ti"].xcom_push(ERROR, {"found": error.found, "expected": error.expected, "do": error.do})
        raise (RefusedForGood if isinstance(error, TerminalError) else Refused)(error) from None


def hand_on(context: Context, handoff: BaseModel) -> dict[str, Any]:
    """Hand a task's result to the tasks after it, and return it as JSON."""
    content = handoff.model_dump(mode="json")
    log.info("Done: %s", ", ".join(f"{name} {value}" for name, value in content.items()))
    context["ti"].xcom_push(HANDOFF, content)
    return content


def handoffs(**tasks: BaseOperator | MappedOperator) -> dict[str, XComArg]:
    """Return a stage's `inputs`: for each parameter of its function, the task whose handoff it gets."""
    return {name: XComArg(task, key=HANDOFF) for name, task in tasks.items()}


class Page(BaseOperatorLink):
    """A link beside a task to a page of the site that `make up` serves.

    The fields of its path below the site's root are filled from the task's handoffs: `{plan[week]}`.
    """

    name = ""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self._path = path

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address."""
        return f"link_{self.name}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the page's address."""
        handed: dict[str, Any] = vars(operator).get("inputs", {})
        return f"{load_settings().service.url}/{self._path.format(**handed) if handed else self._path}"
