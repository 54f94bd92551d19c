"""Where the files of jobs are, and for how long."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.batch_jobs.places import FINISHED_FILE, files_folder, find_received, hand_in, incoming, job_folder, sweep
from pipeline.errors import RequestError
from pipeline.settings import Settings

DIGEST = "a" * 64


@pytest.mark.parametrize("job_id", ["..", ".", "", "../x", "a/b", "~", "a" * 201, "a\0", "-a", "a b", ".incoming"])
def test_no_id_leads_out_of_the_folder(settings, job_id):
    with pytest.raises(RequestError, match="not a job's id"):
        job_folder(settings, job_id)


@pytest.mark.parametrize(
    "name",
    ["job/../../credentials.json", f"../{DIGEST}.csv", f"job/{DIGEST}.exe", f"/{DIGEST}.csv", f"a/b/{DIGEST}.csv"],
)
def test_only_what_was_handed_in_is_found(settings, name):
    with pytest.raises(RequestError, match="There is no file"):
        find_received(settings, name)


def test_what_was_handed_in_is_found(settings):
    arrived = incoming(settings)
    arrived.write_bytes(b"rows")
    name = hand_in(settings, "manual__2026-11-16T00:00:00+00:00", arrived, DIGEST, "csv.gz")
    job_id, path, digest = find_received(settings, name)
    assert path.read_bytes() == b"rows"
    assert (job_id, digest) == ("manual__2026-11-16T00:00:00+00:00", DIGEST)
    assert not arrived.exists()


def old(path: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def make(settings: Settings, name: str, *, ended_days_ago: float | None, changed_days_ago: float) -> Path:
    folder = job_folder(settings, name)
    folder.mkdir(parents=True)
    if ended_days_ago is not None:
        (folder / FINISHED_FILE).touch()
        old(folder / FINISHED_FILE, ended_days_ago)
    old(folder, changed_days_ago)
    return folder


def test_jobs_are_swept_when_they_have_expired_and_not_before(settings):
    assert sweep(settings) == 0, "there is no folder yet"
    make(settings, "ended_long_ago", ended_days_ago=7.1, changed_days_ago=0)
    make(settings, "failed_long_ago", ended_days_ago=None, changed_days_ago=7.1)
    make(settings, "ended", ended_days_ago=6.9, changed_days_ago=30)
    make(settings, "waiting", ended_days_ago=None, changed_days_ago=6.9)
    assert sweep(settings) == 2
    assert {folder.name for folder in files_folder(settings).iterdir()} == {"ended", "waiting"}
    assert sweep(settings, datetime.now(UTC) + timedelta(days=1)) == 2
    assert sweep(settings) == 0


def test_what_never_arrived_is_swept_alone(settings):
    dead, alive = incoming(settings), incoming(settings)
    for path in (dead, alive):
        path.write_bytes(b"half a file")
    old(dead, 8)
    old(dead.parent, 8)
    assert sweep(settings) == 1
    assert [path.name for path in alive.parent.iterdir()] == [alive.name]
