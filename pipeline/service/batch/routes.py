"""Files of rows: `POST /batch-predictions` and what follows it. Airflow does the work (`dags/score_file.py`).

A job's state is Airflow's and its files lie in the home. The service keeps nothing and may be restarted at any time.
`upload` takes the file in, `orchestration.file_jobs` speaks with Airflow. The entry point is `routes`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

from starlette.responses import Response, StreamingResponse

from pipeline.batch_jobs.places import REJECTS_FILE, RESULTS_FILE, job_folder, remove
from pipeline.batch_jobs.result_formats import FORMS, Form, stream_results
from pipeline.errors import RequestError, ServerError
from pipeline.orchestration.file_jobs import FileJob, FileJobs
from pipeline.service.batch.jobs import PATH, Job, JobDetails, JobList, details_of, job_of
from pipeline.service.batch.upload import MEDIA_TYPES, Address, idempotency_key, take_in
from pipeline.service.calls import CSV, JSON_LINES, JSON_LINES_NAMES, PARQUET, Call, Route, as_json
from pipeline.service.instances.bodies import negotiated
from pipeline.service.openapi import described
from pipeline.service.thread_pools import files as file_threads
from pipeline.settings import Settings

ACCEPTED = {CSV: "csv", **dict.fromkeys(JSON_LINES_NAMES, "jsonlines"), PARQUET: "parquet"}
ANSWERED: dict[Form, str] = {
    "csv": f"{CSV}; charset=utf-8; header=present",
    "jsonlines": JSON_LINES,
    "parquet": PARQUET,
}
MOST_LISTED = 100
RETRY = {"retry-after": "10"}
_P = ParamSpec("_P")
_R = TypeVar("_R")


def routes(settings: Settings, jobs: FileJobs | None, *, everybody: bool) -> list[Route]:
    """Return the routes of batch predictions; with `everybody`, where no keys are required, all see all jobs."""
    types = {"job": Job, "jobs": JobList, "details": JobDetails, "address": Address}
    paths = described("batch/routes.yaml", media_types=MEDIA_TYPES, forms=FORMS, **types)

    def route(method: Literal["GET", "POST", "DELETE"], path: str, endpoint: _Endpoint) -> Route:
        async def answer(call: Call) -> Response:
            return await endpoint(_Endpoints(settings, _available(settings, jobs), everybody), call)

        return Route(method, PATH + path, answer, "batch", paths, is_streaming=method == "POST")

    return [
        route("POST", "", _Endpoints.submit),
        route("GET", "", lambda at, call: _ask(at.latest, call)),
        route("GET", "/{id}", lambda at, call: _ask(at.describe, call)),
        route("GET", "/{id}/results", lambda at, call: _ask(at.file, call, RESULTS_FILE)),
        route("GET", "/{id}/rejects", lambda at, call: _ask(at.file, call, REJECTS_FILE)),
        route("DELETE", "/{id}", lambda at, call: _ask(at.end, call)),
    ]


def _available(settings: Settings, jobs: FileJobs | None) -> FileJobs:
    """Return the jobs; raise 501 where there can be no Airflow. If it is only down, `_ask` says so."""
    if jobs is None:
        found = "This service runs from a model's folder alone (service.model_folder), without Airflow."
    elif not (settings.home / "airflow" / "passwords.json").exists():  # it is written before Airflow starts
        found = "From this service's home no Airflow was ever started."
    else:
        return jobs
    do = "POST /predict takes up to service.rows rows at once; a cloud has batch jobs of its own."
    raise RequestError(501, found, "a service beside Airflow (make up), which scores files.", do)


async def _ask(work: Callable[_P, _R], *arguments: _P.args, **options: _P.kwargs) -> _R:
    """Return what `work` returns, in a thread; refuse when Airflow does not answer."""
    try:
        return await file_threads(work, *arguments, **options)
    except ServerError as error:
        do = "try again later; on-demand predictions do not need it."
        raise RequestError(503, error.found, "Airflow, which scores files, to answer.", do, headers=RETRY) from None


@dataclass(frozen=True)
class _Endpoints:
    settings: Settings
    jobs: FileJobs
    everybody: bool

    async def submit(self, call: Call) -> Response:
        # Before a long upload: whether Airflow answers, and whether there is a job already.
        job_id, known = await _ask(self.jobs.reserve, call.key_name, idempotency_key(call))
        submission = await take_in(self.settings, call)
        try:
            job, is_new = await _ask(self.jobs.submit, job_id, submission, call.key_name, known)
        finally:
            submission.discard()
        headers = {"location": f"{PATH}/{job.id}"} | ({} if is_new else {"idempotency-replayed": "true"})
        return as_json(job_of(job), 202, headers)

    def latest(self, call: Call) -> Response:
        return as_json(JobList([*map(job_of, self.jobs.latest(self._owner(call), MOST_LISTED))]))

    def describe(self, call: Call) -> Response:
        job = self._job(call)
        return as_json(details_of(job, self.jobs.handoff(job), self.jobs.reason(job)))

    def file(self, call: Call, name: str) -> Response:
        form = _form(call)
        job = self._job(call)
        if job.state != "succeeded":
            do = "hand the file in again." if job.is_ended else "wait until its state is succeeded."
            found = f"The job is {job.state} and has no results."
            raise RequestError(409, found, "one that succeeded.", do, headers={} if job.is_ended else RETRY)
        try:
            pieces = stream_results(job_folder(self.settings, job.id) / name, form) if job.has_results else None
        except FileNotFoundError:
            pieces = None  # it was removed just now
        if pieces is None:
            found = "The job's results are no longer kept."
            raise RequestError(410, found, "to be fetched before expires_at.", "hand the file in again.")
        filename = f"{job.id}-{name.partition('.')[0]}.{form.replace('lines', 'l')}"
        headers = {"content-disposition": f'attachment; filename="{filename}"'}
        return StreamingResponse(pieces, headers=headers, media_type=ANSWERED[form])

    def end(self, call: Call) -> Response:
        job = self._job(call)
        if job.is_ended:
            remove(self.settings, job.id)
        else:
            self.jobs.cancel(job, call.key_name)
        return self.describe(call)

    def _job(self, call: Call) -> FileJob:
        """Return the job that the path names, if the caller may see it."""
        job = self.jobs.find(call.path_params["id"], self._owner(call))
        if job is None:
            expected = f"the id of a job of yours, as POST {PATH} answered it."
            raise RequestError(404, "There is no such job.", expected, f"GET {PATH} lists them.")
        return job

    def _owner(self, call: Call) -> str | None:
        """Return whose jobs the caller may see; None: everyone's."""
        if self.everybody or "admin" in call.key_scopes:
            return None
        assert call.key_name is not None, "a key is required"
        return call.key_name


_Endpoint = Callable[[_Endpoints, Call], Awaitable[Response]]


def _form(call: Call) -> Form:
    chosen = call.query_params.get("format")
    chosen = negotiated(call, "csv", ACCEPTED) if chosen is None else chosen
    for form in FORMS:
        if form == chosen:
            return form
    found, expected = f"The parameter format is {chosen[:80]!r}.", f"one of {', '.join(FORMS)}."
    raise RequestError(422, found, expected, "choose one of them.", field="format")
