"""Jobs of files, as Airflow has them: a job is a DAG run of `score_file`, whose conf holds what was asked and by whom.

Stands behind `batch`. Everything here waits for Airflow, so it is called in threads. The entry point is `Jobs`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from pipeline.batch_jobs.places import DAG_ID, FINISHED_FILE, expires_at, hand_in, job_folder
from pipeline.errors import RequestError, ServerError
from pipeline.files import sha256_of_text
from pipeline.orchestration.airflow_api import PAGE, AirflowApi, DagRun
from pipeline.service.batch.upload import Wanted
from pipeline.settings import Settings

ANSWER_SECONDS = 10
RETRY_SECONDS = "10"
CANCELLED = "cancelled by "
"""How the note of a cancelled run begins."""
STATES = {"queued": "queued", "running": "running", "success": "succeeded", "failed": "failed"}
_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Job:
    """A job, as far as its DAG run tells."""

    run: DagRun
    expires_at: datetime | None
    """Until when there are results; None while it goes on."""
    has_results: bool

    @property
    def id(self) -> str:
        """The DAG run's id."""
        return self.run.run_id

    @property
    def asked_by(self) -> str | None:
        """The name of the key it was asked for with."""
        return self.run.conf.get("asked_by")

    @property
    def state(self) -> str:
        """queued, running, succeeded, failed or cancelled."""
        is_cancelled = self.run.state == "failed" and self.run.note.startswith(CANCELLED)
        return "cancelled" if is_cancelled else STATES.get(self.run.state, self.run.state)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in {"succeeded", "failed", "cancelled"}

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left of it that could be told again: it failed, was cancelled, or its results are gone."""
        return self.is_ended and not self.has_results

    def listed(self) -> dict[str, Any]:
        """Return it as one of many."""
        path = f"/batch-predictions/{self.id}"
        results = {"results": f"{path}/results", "rejects": f"{path}/rejects"} if self.has_results else {}
        return {
            "id": self.id,
            "state": self.state,
            "created_at": self.run.queued_at,
            "finished_at": self.run.ended_at if self.is_ended else None,
            "expires_at": self.expires_at if self.state == "succeeded" else None,
            "links": {"self": path, **results},
        }

    def refuse_without_results(self) -> None:
        """Refuse what asks for results that there are none of.

        Raises
        ------
        RequestError
            409 when there are none yet or never will be, 410 when there are none any more.
        """
        if self.state == "succeeded":
            if not self.has_results:
                raise self.gone()
            return
        raise RequestError(
            409,
            f"The job is {self.state} and has no results.",
            "one that succeeded.",
            "hand the file in again." if self.is_ended else "wait until its state is succeeded.",
            headers={} if self.is_ended else {"retry-after": RETRY_SECONDS},
        )

    def gone(self) -> RequestError:
        """Return the error that the results are no longer kept."""
        return RequestError(
            410, "The job's results are no longer kept.", "to be fetched before expires_at.", "hand the file in again."
        )


def _answering_503(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have a method say 503 when Airflow does not answer."""

    @wraps(method)
    def asking(*arguments: _P.args, **options: _P.kwargs) -> _R:
        try:
            return method(*arguments, **options)
        except ServerError as error:
            raise RequestError(
                503,
                error.found,
                "Airflow, which scores files, to answer.",
                "try again later; on-demand predictions do not need it.",
                headers={"retry-after": RETRY_SECONDS},
            ) from None

    return asking


class Jobs:
    """The jobs of an installation.

    Every method raises a `RequestError` 503 when Airflow does not answer.

    Parameters
    ----------
    settings
        Say where Airflow and the home are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _airflow(self) -> AirflowApi:
        return AirflowApi(self._settings, ANSWER_SECONDS)

    @_answering_503
    def wanted(self, asked_by: str | None, idempotency_key: str | None) -> tuple[str, Job | None]:
        """Return the id for a job that is asked for, and the job itself if its key stands for one already.

        A key stands for its latest job, unless nothing is left of that to be told again. Then the next number follows
        in the id, the same one for all who ask at once, of whom Airflow lets one begin.
        """
        unique = uuid4().hex if idempotency_key is None else sha256_of_text(f"{asked_by}\0{idempotency_key}")[:32]
        first = f"{_prefix(asked_by)}{unique}"
        found = self._airflow.dag_runs(DAG_ID, first, PAGE)
        runs = {number: run for run in found if (number := _number(run.run_id, first))}
        last = max(runs, default=0)
        if last and not (job := self._job(runs[last])).is_spent:
            return job.id, job
        return (f"{first}-{last + 1}" if last else first), None

    @_answering_503
    def find(self, job_id: str) -> Job | None:
        """Return a job, if there is one of this id."""
        try:
            job_folder(self._settings, job_id)
        except RequestError:
            return None
        run = self._airflow.dag_run(DAG_ID, job_id)
        return self._job(run) if run else None

    @_answering_503
    def latest(self, owner: tuple[str | None] | None, limit: int) -> list[Job]:
        """Return the latest jobs of an owner, or of all (None)."""
        runs = self._airflow.dag_runs(DAG_ID, _prefix(*owner) if owner else "", limit)
        return [self._job(run) for run in runs if owner is None or run.conf.get("asked_by") == owner[0]]

    @_answering_503
    def submit(self, job_id: str, wanted: Wanted, asked_by: str | None, known: Job | None) -> tuple[Job, bool]:
        """Have a file scored; return the job, and whether it is a new one.

        Parameters
        ----------
        job_id
            As `wanted` gave it.
        wanted
            The file.
        asked_by
            The name of the API key.
        known
            The job of this id, if there is one already; as `wanted` gave it.

        Raises
        ------
        RequestError
            422 when the job of this id, that is of this idempotency key, is of another file.
        """
        conf = {"file": wanted.name(job_id), "uri": wanted.uri, "format": wanted.format, "asked_by": asked_by}
        if known is None:
            if wanted.arrived is not None:
                hand_in(self._settings, job_id, wanted.arrived, wanted.digest, wanted.suffix)
            # If the answer is lost, the file stays for the run that may have begun; else it is swept one day.
            is_new = self._airflow.trigger(DAG_ID, job_id, conf)
            known = self.find(job_id)
            assert known is not None, "it was just triggered"
            if is_new:
                return known, True
        if {name: known.run.conf.get(name) for name in conf} != conf:
            raise RequestError(
                422,
                f"The Idempotency-Key stands for the job {known.id}, of another file.",
                "a key of its own for each file, until its job fails, is cancelled or expires.",
                "use another key, or send what was sent then.",
            )
        return known, False

    @_answering_503
    def cancel(self, job: Job, who: str | None) -> Job:
        """End a job that has not ended; return it as it is then."""
        self._airflow.fail(DAG_ID, job.id, f"{CANCELLED}{who or 'the service'}")
        return self.find(job.id) or job

    @_answering_503
    def told(self, job: Job) -> dict[str, Any]:
        """Return all there is to say of a job: what it found so far, or why it failed."""
        counts: dict[str, Any] = dict.fromkeys(("rows", "predicted", "unreadable", "quarantined"))
        facts: dict[str, Any] = {
            "stage": None,
            "model_version": None,
            "warnings": [],
            "ignored_columns": [],
            "error": None,
        }
        handoff = self._airflow.handoff(DAG_ID, job.id, "finish" if job.state == "succeeded" else "read") or {}
        counts |= {name: handoff[name] for name in counts if name in handoff}
        facts |= {name: handoff[name] for name in facts if name in handoff}
        if job.state == "running":
            running = [task for (task, _), state in self._airflow.states(DAG_ID, job.id).items() if state == "running"]
            facts["stage"] = running[-1] if running else None
        if job.state == "failed":
            reason = self._airflow.reason(DAG_ID, job.id)
            facts["error"] = {"detail": reason.found, "expected": reason.expected, "do": reason.do}
        return job.listed() | {"counts": counts} | facts

    def _job(self, run: DagRun) -> Job:
        expires = run.ended_at and expires_at(self._settings, run.ended_at)
        is_kept = expires is not None and datetime.now(UTC) < expires
        has_results = run.state == "success" and is_kept and self._is_there(run.run_id)
        return Job(run, expires, has_results)

    def _is_there(self, job_id: str) -> bool:
        try:
            return (job_folder(self._settings, job_id) / FINISHED_FILE).exists()
        except RequestError:  # a run that somebody triggered by an id of another kind
            return False


def _prefix(asked_by: str | None) -> str:
    """Return how the ids of an owner's jobs begin; it tells nobody the owner's name."""
    return f"file__{sha256_of_text(asked_by)[:12] if asked_by is not None else 'anybody'}__"


def _number(run_id: str, first: str) -> int:
    """Return which one of a key's jobs it is, by the id of the first; 0 when it is none."""
    found = re.fullmatch(f"{re.escape(first)}(-[0-9]{{1,9}})?", run_id)
    return int((found[1] or "-1")[1:]) if found else 0
