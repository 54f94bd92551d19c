"""What the stages of a file's scoring hand on, and its manifest."""

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pipeline.handoff import Handoff
from pipeline.manifests import ShardsManifest
from pipeline.models.pinned import Models


class FilePlan(Models):
    """What the scoring of a file will do, decided once in its first task and pinned."""

    job_id: str
    """Name of the job's folder; of a job of the service the DAG run's id."""
    folder: Path
    uri: str
    """Of the file: one that was handed in lies in the folder."""
    digest: str | None
    """sha256 that the file must have, where it was handed in."""
    format: str | None
    """csv, jsonl or parquet; None: as the file's name says."""


class FileRows(Handoff):
    """The file's rows, read and cast."""

    manifest: Path
    """`FileManifest` as JSON, beside the shards."""
    rows: int
    unreadable: int
    """Rows that could not be read; they are among `rows`."""
    shards: int
    ignored_columns: list[str]
    """Columns of the file that are none of the model's."""


class FileValidated(Handoff):
    """Verdict on the rows, and which are kept out."""

    quarantine: Path
    """Parquet; columns as `QUARANTINE` of `validate`."""
    unreadable: int
    quarantined: int
    """Rows that break a critical expectation."""
    expectations: int
    warnings: list[str]
    """Warnings that rows break, in words."""


class FileScored(Handoff):
    """A file's results."""

    results: Path
    """Parquet: a line for each row of the file, in its order; columns as `RESULTS_SCHEMA` of `finish`."""
    rejects: Path
    """Parquet: the rows that were not scored, as they stood in the file; columns as `REJECTS_SCHEMA` there."""
    rows: int
    predicted: int
    unreadable: int
    quarantined: int
    warnings: list[str]
    ignored_columns: list[str]
    model_version: str
    finished_at: datetime


class FileManifest(ShardsManifest):
    """The rows of a file, in its order.

    A shard's columns are the row's number, its line in the file, why and what it is when it is unreadable (`__row`,
    `__line`, `__reason`, `__raw`), customer_id, product_id and `columns`.
    """

    ANEW: ClassVar[str] = "clear the task that reads the file, or hand the file in again."

    has: list[str]
    """Which of customer_id and product_id the file has."""
    digest: str
    """sha256 of the file's bytes."""
