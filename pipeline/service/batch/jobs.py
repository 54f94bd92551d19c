"""Jobs of files. A job is an Airflow run of the DAG `score_file`; its conf holds what was asked and by whom.

Everything here waits for Airflow and raises a `ServerError` if Airflow does not answer, so `routes` calls it in
threads. Entry points: `Jobs`; `Job` and `JobDetails`, which are encoded as they are; `sweep_hourly`.
"""

import logging
import re
from datetime import UTC, datetime
from functools import cached_property
from threading import Event
from typing import Annotated, Literal
from uuid import uuid4

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.batch_jobs.places import DAG_ID, FINISHED_FILE, expires_at, hand_in, job_folder, sweep
from pipeline.errors import RequestError
from pipeline.files import sha256_of_text
from pipeline.orchestration.airflow_api import PAGE, AirflowApi, DagRun
from pipeline.service.batch.upload import Submission
from pipeline.settings import Settings

PATH = "/batch-predictions"
ANSWER_SECONDS = 10
SWEEP_SECONDS = 3600
CANCELLED = "cancelled by "
"""How the note of a cancelled run begins."""
EXAMPLE_ID = "file__5f70bf18a086__0d2c0b6e3f6a4c6f9a4de1b8f6a7c2d1"
EXAMPLE_PATH = f"{PATH}/{EXAMPLE_ID}"

log = logging.getLogger(__name__)

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: dict[str, State] = {"queued": "queued", "running": "running", "success": "succeeded", "failed": "failed"}
"""Our word for each of Airflow's."""
GOING = {"queued", "running"}
Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[Annotated[int, Meta(ge=0)] | None, Meta(examples=[1])]


class Links(msgspec.Struct):
    """Where to ask about a job and, while there are results, for them."""

    itself: Annotated[str, Meta(examples=[EXAMPLE_PATH])] = msgspec.field(name="self")
    results: Annotated[str | UnsetType, Meta(examples=[f"{EXAMPLE_PATH}/results"])] = UNSET
    rejects: Annotated[str | UnsetType, Meta(examples=[f"{EXAMPLE_PATH}/rejects"])] = UNSET


class Job(msgspec.Struct):
    """A job of a file of rows."""

    id: Annotated[str, Meta(examples=[EXAMPLE_ID])]
    state: Annotated[State, Meta(examples=["succeeded"])]
    created_at: Annotated[Instant | None, Meta(examples=["2026-11-16T09:00:00+00:00"])]
    finished_at: Annotated[Instant | None, Meta(examples=["2026-11-16T09:00:21+00:00"])]
    expires_at: Annotated[
        Instant | None, Meta(description="Until when there are results.", examples=["2026-11-23T09:00:21+00:00"])
    ]
    links: Links

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in GOING

    @property
    def has_results(self) -> bool:
        """Whether there are results to fetch."""
        return self.links.results is not UNSET


class JobList(msgspec.Struct):
    """Jobs, the latest first."""

    jobs: list[Job]


class Counts(msgspec.Struct):
    """How many rows the file has, and what became of them, as far as that is known yet."""

    rows: Count
    predicted: Count
    unreadable: Count
    quarantined: Count


class Failure(msgspec.Struct):
    """Why a job failed."""

    detail: str
    expected: str
    do: str


class JobDetails(Job):
    """A job, with what it has found so far."""

    counts: Counts
    stage: Annotated[str | None, Meta(description="The task of the DAG that runs.", examples=[None])]
    model_version: Annotated[str | None, Meta(examples=["3"])]
    warnings: Annotated[
        list[str], Meta(description="Expectations that rows break without being rejected for it.", examples=[[]])
    ]
    ignored_columns: Annotated[
        list[str], Meta(description="Columns of the file that are none of the model's.", examples=[["remark"]])
    ]
    error: Annotated[Failure | None, Meta(examples=[None])]


class Jobs:
    """The jobs of an installation; `settings` say where Airflow and the home are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _airflow(self) -> AirflowApi:
        return AirflowApi(self._settings, ANSWER_SECONDS)

    def reserve(self, owner: str | None, idempotency_key: str | None) -> tuple[str, DagRun | None]:
        """Return the id for a new job; or the id and run of the job that the key already stands for.

        A key stands for its latest job until that fails, is cancelled or has no results any more. Then the id of the
        next job ends in the next number. That number is the same for all who ask at once, and Airflow lets one begin.
        """
        unique = uuid4().hex if idempotency_key is None else sha256_of_text(f"{owner}\0{idempotency_key}")[:32]
        first = f"{_prefix(owner)}{unique}"
        found = self._airflow.dag_runs(DAG_ID, first, PAGE)
        runs = {number: run for run in found if (number := _number(run.run_id, first))}
        last = max(runs, default=0)
        if last:
            job = self._job(runs[last])
            if not job.is_ended or job.has_results:
                return job.id, runs[last]
        return (f"{first}-{last + 1}" if last else first), None

    def find(self, job_id: str, owner: str | None) -> Job | None:
        """Return an owner's job, or anyone's for None; None if there is none of this id."""
        try:
            job_folder(self._settings, job_id)
        except RequestError:
            return None
        run = self._airflow.dag_run(DAG_ID, job_id)
        return self._job(run) if run and owner in (None, run.conf.get("asked_by")) else None

    def latest(self, owner: str | None, limit: int) -> list[Job]:
        """Return the latest jobs of an owner, or of all for None."""
        runs = self._airflow.dag_runs(DAG_ID, "" if owner is None else _prefix(owner), limit)
        return [self._job(run) for run in runs if owner in (None, run.conf.get("asked_by"))]

    def submit(self, job_id: str, submission: Submission, owner: str | None, known: DagRun | None) -> tuple[Job, bool]:
        """Have a file scored; return the job, and whether it is new. `job_id` and `known` come from `reserve`."""
        name = submission.name(job_id)
        conf = {"file": name, "uri": submission.uri, "format": submission.format, "asked_by": owner}
        is_new = False
        if known is None:
            if submission.arrived is not None:
                hand_in(self._settings, job_id, submission.arrived, submission.digest, submission.suffix)
            # If Airflow's answer is lost, the file stays for the run that may have begun. Else it is swept one day.
            is_new = self._airflow.trigger(DAG_ID, job_id, conf)
            known = self._airflow.dag_run(DAG_ID, job_id)
            assert known is not None, "it was just triggered"
        if not is_new and {name: known.conf.get(name) for name in conf} != conf:
            found = f"The Idempotency-Key stands for the job {known.run_id}, of another file."
            expected = "a key of its own for each file, until its job fails, is cancelled or expires."
            raise RequestError(422, found, expected, "use another key, or send what was sent then.")
        return self._job(known), is_new

    def cancel(self, job: Job, who: str | None) -> None:
        """End a job that has not ended."""
        self._airflow.fail(DAG_ID, job.id, f"{CANCELLED}{who or 'the service'}")

    def details(self, job: Job) -> JobDetails:
        """Return a job with what it has found so far, or why it failed."""
        handoff = self._airflow.handoff(DAG_ID, job.id, "finish" if job.state == "succeeded" else "read") or {}
        stage = error = None
        if job.state == "running":
            states = self._airflow.states(DAG_ID, job.id)
            stage = next((task for (task, _), state in reversed(states.items()) if state == "running"), None)
        if job.state == "failed":
            reason = self._airflow.reason(DAG_ID, job.id)
            error = Failure(reason.found, reason.expected, reason.do)
        return JobDetails(
            **msgspec.structs.asdict(job),
            counts=Counts(**{name: handoff.get(name) for name in Counts.__struct_fields__}),
            stage=stage,
            model_version=handoff.get("model_version"),
            warnings=handoff.get("warnings", []),
            ignored_columns=handoff.get("ignored_columns", []),
            error=error,
        )

    def _job(self, run: DagRun) -> Job:
        is_cancelled = run.state == "failed" and run.note.startswith(CANCELLED)
        state = "cancelled" if is_cancelled else STATES[run.state]
        ended_at = run.ended_at if state not in GOING else None
        expires = expires_at(self._settings, ended_at) if ended_at and state == "succeeded" else None
        links = Links(f"{PATH}/{run.run_id}")
        if expires is not None and datetime.now(UTC) < expires and self._is_finished(run.run_id):
            links.results, links.rejects = f"{links.itself}/results", f"{links.itself}/rejects"
        return Job(run.run_id, state, run.queued_at, ended_at, expires, links)

    def _is_finished(self, job_id: str) -> bool:
        try:
            return (job_folder(self._settings, job_id) / FINISHED_FILE).exists()
        except RequestError:  # someone triggered a run with an id of another kind
            return False


def sweep_hourly(settings: Settings, stopping: Event) -> None:
    """Remove the files of expired jobs at once and then every hour, until `stopping`; for a thread."""
    while not stopping.is_set():
        try:
            if swept := sweep(settings):
                log.info("Removed the files of %d jobs that have expired", swept)
        except OSError:  # a folder that cannot be read today may be readable tomorrow
            log.exception("The files of jobs cannot be swept")
        stopping.wait(SWEEP_SECONDS)


def _prefix(owner: str | None) -> str:
    """Return how the ids of an owner's jobs begin. It does not reveal the owner's name."""
    return f"file__{sha256_of_text(owner)[:12] if owner is not None else 'anybody'}__"


def _number(run_id: str, first: str) -> int:
    """Return which of a key's jobs this is, 1 for the first; 0 when it is none of them."""
    found = re.fullmatch(f"{re.escape(first)}(-[0-9]{{1,9}})?", run_id)
    return int((found[1] or "-1")[1:]) if found else 0
