"""A job of a file of rows, as the API describes it. Entry points: `job_of` and `details_of`, and their types."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pipeline.errors import RunError
from pipeline.orchestration.file_jobs import FileJob, State

PATH = "/batch-predictions"
EXAMPLE_ID = "file__5f70bf18a086__0d2c0b6e3f6a4c6f9a4de1b8f6a7c2d1"
EXAMPLE_PATH = f"{PATH}/{EXAMPLE_ID}"

Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[Annotated[int, Meta(ge=0)] | None, Meta(examples=[1])]


class Links(msgspec.Struct, omit_defaults=True):
    """Where to ask about a job and, while there are results, for them."""

    itself: Annotated[str, Meta(examples=[EXAMPLE_PATH])] = msgspec.field(name="self")
    results: Annotated[str | None, Meta(examples=[f"{EXAMPLE_PATH}/results"])] = None
    rejects: Annotated[str | None, Meta(examples=[f"{EXAMPLE_PATH}/rejects"])] = None


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
    model_version: Annotated[str | None, Meta(examples=["3"])]
    warnings: Annotated[
        list[str], Meta(description="Expectations that rows break without being rejected for it.", examples=[[]])
    ]
    ignored_columns: Annotated[
        list[str], Meta(description="Columns of the file that are none of the model's.", examples=[["remark"]])
    ]
    error: Annotated[Failure | None, Meta(examples=[None])]


def job_of(found: FileJob) -> Job:
    """Return a job with its links."""
    itself = f"{PATH}/{found.id}"
    links = Links(itself, f"{itself}/results", f"{itself}/rejects") if found.has_results else Links(itself)
    return Job(found.id, found.state, found.created_at, found.finished_at, found.expires_at, links)


def details_of(found: FileJob, handoff: Mapping[str, Any], error: RunError | None) -> JobDetails:
    """Return a job with what it has found so far, or why it failed."""
    return JobDetails(
        **msgspec.structs.asdict(job_of(found)),
        counts=Counts(**{name: handoff.get(name) for name in Counts.__struct_fields__}),
        model_version=handoff.get("model_version"),
        warnings=handoff.get("warnings", []),
        ignored_columns=handoff.get("ignored_columns", []),
        error=None if error is None else Failure(error.found, error.expected, error.do),
    )
