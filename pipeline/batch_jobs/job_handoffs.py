"""What each stage of a file's scoring hands to the next, and the manifest of the file's rows."""

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pipeline.handoff import Handoff
from pipeline.manifests import ShardsManifest
from pipeline.models.pinned import Models


class FilePlan(Models):
    """What the scoring of a file will do, decided once by its first stage."""

    job_id: str
    """The name of the job's folder: for a job of the service, the DAG run's id."""
    folder: Path
    uri: str
    """Of the file; a file that was handed in is in the folder."""
    digest: str | None
    """The expected sha256 of a file that was handed in; None for a file at an address."""
    format: str | None
    """csv, jsonl or parquet; None to take it from the file's name."""


class FileRows(Handoff):
    """The file's rows, read and cast."""

    manifest: Path
    """`FileManifest` as JSON, beside the shards."""
    rows: int
    unreadable: int
    """Rows that could not be read; `rows` includes them."""
    shards: int
    ignored_columns: list[str]
    """Columns of the file that the model does not use."""


class FileValidated(Handoff):
    """The verdict on the rows, and which rows are kept out."""

    quarantine: Path
    """Parquet; columns as `QUARANTINE` of `validate`."""
    unreadable: int
    quarantined: int
    """Rows that break a critical expectation."""
    expectations: int
    warnings: list[str]
    """A sentence for each warning that rows break."""


class FileScored(Handoff):
    """A file's results."""

    results: Path
    """Parquet: one line for each row of the file, in its order; columns as `completion.RESULTS_SCHEMA`."""
    rejects: Path
    """Parquet: the rows that were not scored; columns as `completion.REJECTS_SCHEMA`."""
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

    A shard's columns are the row's number and line in the file (`__row`, `__line`), the reason and the text of an
    unreadable row (`__reason`, `__raw`), customer_id, product_id and `columns`.
    """

    ANEW: ClassVar[str] = "clear the task that reads the file, or hand the file in again."

    has: list[str]
    """Which of customer_id and product_id the file contains."""
    digest: str
    """sha256 of the file's bytes."""
