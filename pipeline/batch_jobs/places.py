"""Where a job's files lie, and for how long: `files/<job id>/` under the home, swept once they have expired.

The service and the command `score` hand files in with `hand_in`, the DAG finds them with `received`, and `sweep`
removes what has expired. Nothing heavy is imported here, for the service's sake.
"""

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from pipeline.errors import RequestError
from pipeline.settings import Settings

DAG_ID = "score_file"
FORMATS = ("csv", "jsonl", "parquet")
_JOB_ID = "[A-Za-z0-9][A-Za-z0-9_.:+-]{0,199}"
_FILE = r"([0-9a-f]{64})\.(?:csv|jsonl|parquet)(?:\.gz)?"
RECEIVED_PATTERN = f"^{_JOB_ID}/{_FILE}$"
"""Of the name, below `files/`, of a file that was handed in: its job's folder, its sha256, its format."""
FINISHED_FILE, RESULTS_FILE, REJECTS_FILE = "finished.json", "results.parquet", "rejects.parquet"
"""In the folder of a job that has ended well: its `FileScored`, and what that tells of."""
_INCOMING = ".incoming"
"""The folder, beside those of the jobs, of files that are being handed in."""
_SUFFIX = re.compile(r"\.(csv|jsonl|ndjson|parquet)(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Received:
    """A file that was handed in."""

    job_id: str
    path: Path
    digest: str


def files_folder(settings: Settings) -> Path:
    """Return the folder of all jobs."""
    return settings.home / "files"


def job_folder(settings: Settings, job_id: str) -> Path:
    """Return a job's folder, which may not be there (any more).

    Raises
    ------
    RequestError
        If there can be no job of this id.
    """
    if not re.fullmatch(_JOB_ID, job_id):
        raise RequestError(
            404,
            f"{job_id[:80]!r} is no job's id.",
            "the id of a DAG run, beginning with a letter or a digit.",
            "use the id that POST /batch-predictions answered; in Airflow, trigger a run without an id of its own.",
        )
    return files_folder(settings) / job_id


def suffix_of(name: str) -> str | None:
    """Return what a file's name says of its format, as csv or csv.gz; None when it says nothing.

    Examples
    --------
    >>> suffix_of("rows.NDJSON.gz")
    'jsonl.gz'
    """
    found = _SUFFIX.search(name)
    return found and f"{found[1].lower().replace('ndjson', 'jsonl')}{(found[2] or '').lower()}"


def incoming(settings: Settings) -> Path:
    """Return a path for a file that is being handed in; its folder is there."""
    path = files_folder(settings) / _INCOMING / uuid4().hex
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def hand_in(settings: Settings, job_id: str, arrived: Path, digest: str, suffix: str) -> str:
    """Move a file into its job's folder and return its name there, for the DAG's param `file`.

    Parameters
    ----------
    settings
        Say where the home is.
    job_id
        The job.
    arrived
        The file, whole, where `incoming` said.
    digest, suffix
        Its sha256, and its format as `suffix_of` has it.
    """
    name = f"{job_id}/{digest}.{suffix}"
    job_folder(settings, job_id).mkdir(parents=True, exist_ok=True)
    arrived.replace(files_folder(settings) / name)
    return name


def received(settings: Settings, name: str) -> Received:
    """Return the file that was handed in under this name.

    Raises
    ------
    RequestError
        If it is no such name, or there is no such file (any more).
    """
    matched = re.fullmatch(f"({_JOB_ID})/{_FILE}", name)
    path = files_folder(settings) / name
    if matched is None or not path.is_file():
        raise RequestError(
            404,
            f"There is no file {name[:300]!r} in {files_folder(settings)}.",
            "a file that was handed in, and not swept since.",
            "hand it in again: POST /batch-predictions, or barometer score FILE.",
        )
    return Received(matched[1], path, matched[2])


def expires_at(settings: Settings, finished_at: datetime) -> datetime:
    """Return until when the results of a job are kept."""
    return finished_at + timedelta(days=settings.service.results_days)


def sweep(settings: Settings, now: datetime | None = None) -> int:
    """Remove the folders of jobs that have expired, and what never arrived whole; return how many.

    A job counts from its end; one without an end (failed, cancelled, still waiting) from when its folder last changed.
    """
    now = now or datetime.now(UTC)
    swept = 0
    folder = files_folder(settings)
    for path in (*folder.glob("[!.]*"), *folder.glob(f"{_INCOMING}/*")):
        changed = _changed(path / FINISHED_FILE) or _changed(path)
        if changed is not None and expires_at(settings, changed) <= now:
            _remove(path)
            swept += 1
    return swept


def remove(settings: Settings, job_id: str) -> None:
    """Remove a job's folder now."""
    _remove(job_folder(settings, job_id))


def _remove(path: Path) -> None:
    """Remove a file or folder; another process may be at it too."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _changed(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
