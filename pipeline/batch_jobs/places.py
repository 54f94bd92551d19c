"""Where a job's files are, and for how long: in `files/<job id>/` of the home, until they expire.

The service and the command `score` hand files in with `hand_in`, the DAG finds them with `find_received`, and `sweep`
removes expired jobs, in the service once an hour (`sweep_hourly`). This module imports nothing heavy, because the
service imports it.
"""

import logging
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from uuid import uuid4

from pipeline.errors import RequestError
from pipeline.settings import Settings

DAG_ID = "score_file"
SWEEP_SECONDS = 3600
FORMATS = ("csv", "jsonl", "parquet")
_JOB_ID = "[A-Za-z0-9][A-Za-z0-9_.:+-]{0,199}"
_FILE = r"([0-9a-f]{64})\.(?:csv|jsonl|parquet)(?:\.gz)?"
RECEIVED_PATTERN = f"^{_JOB_ID}/{_FILE}$"
"""Pattern of a handed-in file's name below `files/`: the job's folder, the sha256, the format."""
FINISHED_FILE, RESULTS_FILE, REJECTS_FILE = "finished.json", "results.parquet", "rejects.parquet"
"""Files of a job that has succeeded: its `FileScored`, and the two files named there."""
_INCOMING = ".incoming"
"""The folder of files that are still arriving, beside the jobs' folders."""
_SUFFIX = re.compile(r"\.(csv|jsonl|ndjson|parquet)(\.gz)?$", re.IGNORECASE)

log = logging.getLogger(__name__)


def files_folder(settings: Settings) -> Path:
    """Return the folder of all jobs."""
    return settings.home / "files"


def is_job_id(run_id: str) -> bool:
    """Return whether a DAG run may be a job: Airflow also triggers runs with ids that no folder can have."""
    return re.fullmatch(_JOB_ID, run_id) is not None


def job_folder(settings: Settings, job_id: str) -> Path:
    """Return the path of a job's folder, whether or not it exists."""
    if not is_job_id(job_id):
        raise RequestError(
            404,
            f"{job_id[:80]!r} is not a job's id.",
            "the id of a DAG run, beginning with a letter or a digit.",
            "use the id that POST /batch-predictions answered; in Airflow, trigger a run without an id of its own.",
        )
    return files_folder(settings) / job_id


def suffix_of(name: str) -> str | None:
    """Return the format in a file's name, as csv or csv.gz; None if the name has none.

    >>> suffix_of("rows.NDJSON.gz")
    'jsonl.gz'
    """
    found = _SUFFIX.search(name)
    return found and f"{found[1].lower().replace('ndjson', 'jsonl')}{(found[2] or '').lower()}"


def incoming(settings: Settings) -> Path:
    """Return a new path for a file that is arriving, in a folder that exists."""
    path = files_folder(settings) / _INCOMING / uuid4().hex
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def hand_in(settings: Settings, job_id: str, arrived: Path, digest: str, suffix: str) -> str:
    """Move an arrived file into its job's folder and return its name below `files/`, for the DAG's param `file`.

    `arrived` is a complete file at a path that `incoming` returned, `digest` its sha256, `suffix` as `suffix_of`
    returns it.
    """
    name = f"{job_id}/{digest}.{suffix}"
    job_folder(settings, job_id).mkdir(parents=True, exist_ok=True)
    arrived.replace(files_folder(settings) / name)
    return name


def find_received(settings: Settings, name: str) -> tuple[str, Path, str]:
    """Return the job's id, the path and the sha256 of the file that was handed in under this name."""
    matched = re.fullmatch(f"({_JOB_ID})/{_FILE}", name)
    path = files_folder(settings) / name
    if matched is None or not path.is_file():
        raise RequestError(
            404,
            f"There is no file {name[:300]!r} in {files_folder(settings)}.",
            "a file that was handed in and has not expired.",
            "hand it in again: POST /batch-predictions, or barometer score FILE.",
        )
    return matched[1], path, matched[2]


def expires_at(settings: Settings, finished_at: datetime) -> datetime:
    """Return when a job's results expire."""
    return finished_at + timedelta(days=settings.service.results_days)


def sweep(settings: Settings, now: datetime | None = None) -> int:
    """Remove the folders of expired jobs and files that never arrived completely; return how many.

    A job's time runs from its end. For a job without an end (failed, cancelled, waiting) it runs from the last change
    of its folder.
    """
    now = now or datetime.now(UTC)
    swept = 0
    folder = files_folder(settings)
    for path in (*folder.glob("[!.]*"), *folder.glob(f"{_INCOMING}/*")):
        changed = _last_change(path / FINISHED_FILE) or _last_change(path)
        if changed is not None and expires_at(settings, changed) <= now:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # another process may be removing it too
            else:
                path.unlink(missing_ok=True)
            swept += 1
    return swept


def sweep_hourly(settings: Settings, stopping: Event) -> None:
    """Call `sweep` at once and then every hour, until `stopping`; for a thread of the service."""
    while not stopping.is_set():
        try:
            if swept := sweep(settings):
                log.info("Removed the files of %d jobs that have expired", swept)
        except OSError:  # a folder that cannot be read today may be readable tomorrow
            log.exception("The files of jobs cannot be swept")
        stopping.wait(SWEEP_SECONDS)


def remove(settings: Settings, job_id: str) -> None:
    """Remove a job's folder now."""
    shutil.rmtree(job_folder(settings, job_id), ignore_errors=True)


def _last_change(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
