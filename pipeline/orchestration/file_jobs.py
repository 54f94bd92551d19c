"""Files to be scored, as jobs: a job is an Airflow run of the DAG `score_file`, whose conf says what was asked by whom.

The service's `/batch-predictions` hands files to Airflow through this, and asks for them. Everything here waits for
Airflow, and raises a `ServerError` if Airflow does not answer. The entry point is `FileJobs`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pipeline.batch_jobs.places import DAG_ID, FINISHED_FILE, expires_at, hand_in, is_job_id, job_folder
from pipeline.errors import RequestError, RunError
from pipeline.files import sha256_of_text
from pipeline.orchestration.airflow_api import PAGE, AirflowApi, DagRun
from pipeline.settings import Settings

ANSWER_SECONDS = 10
CANCELLED = "cancelled by "
"""How the note of a cancelled run begins."""

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: dict[str, State] = {"queued": "queued", "running": "running", "success": "succeeded", "failed": "failed"}
"""Our word for each of Airflow's."""


@dataclass
class Submission:
    """What is to be scored: a file that has arrived, or an address."""

    arrived: Path | None = None
    digest: str = ""
    suffix: str = ""
    """Of a file that has arrived: csv, csv.gz, …"""
    uri: str | None = None
    format: str | None = None
    """Of an address that does not say it."""

    def name(self, job_id: str) -> str | None:
        """Return the name that `hand_in` gives the file; None for an address."""
        return f"{job_id}/{self.digest}.{self.suffix}" if self.arrived else None

    def discard(self) -> None:
        """Remove the file unless it was handed in."""
        if self.arrived is not None:
            self.arrived.unlink(missing_ok=True)


@dataclass(frozen=True)
class FileJob:
    """A job, as Airflow and the home have it."""

    id: str
    state: State
    created_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    """Until when there are results."""
    has_results: bool

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in {"queued", "running"}


class FileJobs:
    """The jobs of an installation; several threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._airflow = AirflowApi(settings, ANSWER_SECONDS)

    def close(self) -> None:
        """End the session with Airflow."""
        self._airflow.close()

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

    def find(self, job_id: str, owner: str | None) -> FileJob | None:
        """Return an owner's job, or anyone's for None; None if there is none of this id."""
        run = self._airflow.dag_run(DAG_ID, job_id) if is_job_id(job_id) else None
        return self._job(run) if run and owner in (None, run.conf.get("asked_by")) else None

    def latest(self, owner: str | None, limit: int) -> list[FileJob]:
        """Return the latest jobs of an owner, or of all for None."""
        runs = self._airflow.dag_runs(DAG_ID, "" if owner is None else _prefix(owner), limit)
        return [self._job(run) for run in runs if owner in (None, run.conf.get("asked_by"))]

    def submit(
        self, job_id: str, submission: Submission, owner: str | None, known: DagRun | None
    ) -> tuple[FileJob, bool]:
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

    def cancel(self, job: FileJob, who: str | None) -> None:
        """End a job that has not ended."""
        self._airflow.fail(DAG_ID, job.id, f"{CANCELLED}{who or 'the service'}")

    def handoff(self, job: FileJob) -> dict[str, Any]:
        """Return what a job has found: all when it has succeeded, before that what was read, if it was."""
        return self._airflow.handoff(DAG_ID, job.id, "finish" if job.state == "succeeded" else "read") or {}

    def reason(self, job: FileJob) -> RunError | None:
        """Return why a job failed; None if it did not."""
        return self._airflow.reason(DAG_ID, job.id) if job.state == "failed" else None

    def _job(self, run: DagRun) -> FileJob:
        is_cancelled = run.state == "failed" and run.note.startswith(CANCELLED)
        state = "cancelled" if is_cancelled else STATES[run.state]
        ended_at = run.ended_at if run.state in {"success", "failed"} else None
        expires = expires_at(self._settings, ended_at) if ended_at and state == "succeeded" else None
        is_kept = expires is not None and datetime.now(UTC) < expires and is_job_id(run.run_id)
        has_results = is_kept and (job_folder(self._settings, run.run_id) / FINISHED_FILE).exists()
        return FileJob(run.run_id, state, run.queued_at, ended_at, expires, has_results)


def _prefix(owner: str | None) -> str:
    """Return how the ids of an owner's jobs begin. It does not reveal the owner's name."""
    return f"file__{sha256_of_text(owner)[:12] if owner is not None else 'anybody'}__"


def _number(run_id: str, first: str) -> int:
    """Return which of a key's jobs this is, 1 for the first; 0 when it is none of them."""
    found = re.fullmatch(f"{re.escape(first)}(-[0-9]{{1,9}})?", run_id)
    return int((found[1] or "-1")[1:]) if found else 0
