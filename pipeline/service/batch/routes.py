"""Files of rows: `POST /batch-predictions` and what follows it; Airflow does the work (`dags/score_file.py`).

A job's state is Airflow's, its files lie in the home, and the service keeps nothing: it may be restarted at any time.
`batch_upload` takes the file in, `batch_jobs` speaks with Airflow, `batch_docs` describes the routes. The entry point
is `routes`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response, StreamingResponse

from pipeline.batch_jobs.places import REJECTS_FILE, RESULTS_FILE, job_folder, remove
from pipeline.batch_jobs.result_formats import FORMS, Form, stream_results
from pipeline.errors import RequestError
from pipeline.service.batch import docs
from pipeline.service.batch.jobs import Job, Jobs
from pipeline.service.batch.upload import idempotency_key, take_in
from pipeline.service.calls import CSV, JSON_LINES, Call, Endpoint, Route, as_json
from pipeline.service.instances.forms import negotiated
from pipeline.service.thread_pools import files as aside
from pipeline.settings import Settings

PATH = "/batch-predictions"
MEDIA_TYPES: dict[Form, str] = {
    "csv": f"{CSV}; charset=utf-8; header=present",
    "jsonlines": JSON_LINES,
    "parquet": docs.PARQUET,
}
ACCEPTED: dict[str, Form] = {
    CSV: "csv",
    JSON_LINES: "jsonlines",
    "application/jsonl": "jsonlines",
    "application/x-ndjson": "jsonlines",
    docs.PARQUET: "parquet",
}
MOST_LISTED = 100


def routes(settings: Settings, *, everybody: bool) -> list[Route]:
    """Return the routes of batch predictions."""
    jobs = Jobs(settings)

    def route(method: docs.Method, path: str, handle: Callable[[_Asked], Awaitable[Response]]) -> Route:
        operation = docs.OPERATIONS[method, path]
        handler = _handler(settings, jobs, handle, everybody=everybody)
        return Route(method, PATH + path, handler, "batch", operation, is_streaming=method == "POST")

    return [
        route("POST", "", _submit),
        route("GET", "", _list),
        route("GET", "/{id}", _tell),
        route("GET", "/{id}/results", partial(_hand_out, name=RESULTS_FILE)),
        route("GET", "/{id}/rejects", partial(_hand_out, name=REJECTS_FILE)),
        route("DELETE", "/{id}", _end),
    ]


@dataclass(frozen=True)
class _Asked:
    """A request, and who may be told what."""

    settings: Settings
    jobs: Jobs
    call: Call
    sees_all: bool

    async def job(self) -> Job:
        """Return the job that the path names, if it is the key's own."""
        job_id = self.call.path_params["id"]
        job = await aside(self.jobs.find, job_id)
        if job is None or not (self.sees_all or job.asked_by == self.call.key_name):
            raise RequestError(
                404,
                "There is no such job.",
                f"the id of a job of yours, as POST {PATH} answered it.",
                f"GET {PATH} lists them.",
            )
        return job


def _handler(
    settings: Settings, jobs: Jobs, handle: Callable[[_Asked], Awaitable[Response]], *, everybody: bool
) -> Endpoint:
    async def handler(call: Call) -> Response:
        _refuse_without_airflow(settings)
        return await handle(_Asked(settings, jobs, call, everybody or "admin" in call.key_scopes))

    return handler


def _refuse_without_airflow(settings: Settings) -> None:
    """Refuse for good where there surely is no Airflow; one that is only down is told of by whoever asks it."""
    if settings.service.model_folder is not None:
        found = "This service runs from a model's folder alone (service.model_folder), without Airflow."
    elif not (settings.home / "airflow" / "passwords.json").exists():  # it is written before Airflow starts
        found = "From this service's home no Airflow was ever started."
    else:
        return
    raise RequestError(
        501,
        found,
        "a service beside Airflow (make up), which scores files.",
        "POST /predict takes up to service.rows rows at once; a cloud has batch jobs of its own.",
    )


async def _submit(asked: _Asked) -> Response:
    call = asked.call
    # Before a long upload: whether Airflow is there at all, and whether the job is.
    job_id, known = await aside(asked.jobs.wanted, call.key_name, idempotency_key(call))
    wanted = await take_in(asked.settings, call)
    try:
        job, is_new = await aside(asked.jobs.submit, job_id, wanted, call.key_name, known)
    finally:
        wanted.discard()
    headers = {"location": f"{PATH}/{job.id}"} | ({} if is_new else {"idempotency-replayed": "true"})
    return as_json(job.listed(), 202, headers)


async def _list(asked: _Asked) -> Response:
    owner = None if asked.sees_all else (asked.call.key_name,)
    jobs = await aside(asked.jobs.latest, owner, MOST_LISTED)
    return as_json({"jobs": [job.listed() for job in jobs]})


async def _tell(asked: _Asked) -> Response:
    job = await asked.job()
    return as_json(await aside(asked.jobs.told, job))


async def _hand_out(asked: _Asked, name: str) -> Response:
    form = _form(asked.call)
    job = await asked.job()
    job.refuse_without_results()
    try:
        pieces = await aside(stream_results, job_folder(asked.settings, job.id) / name, form)
    except FileNotFoundError:
        raise job.gone() from None
    filename = f"{job.id}-{name.partition('.')[0]}.{form.replace('lines', 'l')}"
    headers = {"content-disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(_streamed(pieces), headers=headers, media_type=MEDIA_TYPES[form])


async def _end(asked: _Asked) -> Response:
    job = await asked.job()
    if job.is_ended:
        await aside(remove, asked.settings, job.id)
    else:
        job = await aside(asked.jobs.cancel, job, asked.call.key_name)
    return as_json(await aside(asked.jobs.told, job))


def _form(call: Call) -> Form:
    named = call.query_params.get("format")
    chosen = negotiated(call, "csv", ACCEPTED) if named is None else named
    for form in FORMS:
        if form == chosen:
            return form
    raise RequestError(
        422,
        f"The parameter format is {chosen[:80]!r}.",
        f"one of {', '.join(FORMS)}.",
        "choose one of them.",
        field="format",
    )


async def _streamed(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, each made in a thread, so that others need not wait."""
    while (piece := await aside(next, pieces, None)) is not None:
        yield piece
