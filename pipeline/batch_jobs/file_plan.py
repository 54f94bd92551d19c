"""Plan, the first stage of a file's scoring: which file, and which model versions all later stages use.

The entry point is `plan_file`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.batch_jobs.allowed_uris import check_uri
from pipeline.batch_jobs.job_handoffs import FilePlan
from pipeline.batch_jobs.places import find_received, job_folder
from pipeline.errors import ConfigError, RunError
from pipeline.files import write_text
from pipeline.models import registry, role_history
from pipeline.models.pinned import Routing, pinned, todays_routing
from pipeline.settings import Settings
from pipeline.weeks import Week

PLAN_FILE = "plan.json"
RUN_FILE = "dag_run"


def plan_file(
    settings: Settings, *, file: str | None, uri: str | None, file_format: str | None, airflow_run_id: str
) -> FilePlan:
    """Return what the scoring of a file will do, by the current champion and, in an A/B test, the challenger.

    The file is either `file`, the name of one that was handed in (see `places`), or the one at `uri`. Without a
    `file_format` its name says the format.

    Raises
    ------
    ConfigError
        If not exactly one of `file` and `uri` is given.
    RequestError
        If the file does not exist or may not be read.
    RunError
        If another run scores the file.
    ModelError
        If there is no champion, or a model version fails its checks.
    """
    job_id, where, digest = _locate(settings, file, uri, airflow_run_id)
    folder = job_folder(settings, job_id)
    _reserve(folder, airflow_run_id)
    made = FilePlan(job_id=job_id, folder=folder, uri=where, digest=digest, format=file_format, **_pin_models(settings))
    write_text(folder / PLAN_FILE, made.model_dump_json(indent=1))
    return made


def _locate(settings: Settings, file: str | None, uri: str | None, airflow_run_id: str) -> tuple[str, str, str | None]:
    """Return the job's id, the file's address, and the sha256 of a file that was handed in."""
    if file is not None and uri is None:
        job_id, path, digest = find_received(settings, file)
        return job_id, str(path), digest
    if uri is not None and file is None:
        return airflow_run_id, check_uri(uri, settings.service.file_sources), None
    raise ConfigError(
        f"The run names {'no file' if file is None else 'both a file and a URI'}.",
        "a file that was handed in, or a URI.",
        "set one of the params file and uri.",
    )


def _reserve(folder: Path, airflow_run_id: str) -> None:
    """Reserve the folder for this run: two runs in one folder would overwrite each other's files."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / RUN_FILE
    if not owner.exists():
        write_text(owner, airflow_run_id)
    elif (first := owner.read_text(encoding="utf-8")) != airflow_run_id:
        raise RunError(
            f"The file in {folder} belongs to the run {first}.",
            "one run for each file that is handed in.",
            "clear that run's tasks to score the file again, or hand the file in again.",
        )


def _pin_models(settings: Settings) -> dict[str, Any]:
    week = Week.last_complete(datetime.now(UTC), settings.zone)
    role_history.repair(settings)
    choice = registry.choose_model(settings, week=week, requested="current", published_version=None)
    routing = todays_routing(settings, week, choice)
    if routing.mode != "ab":
        routing = Routing(reason=f"{routing.reason}; only an A/B test uses a challenger for a file")
    return pinned(choice, routing)
