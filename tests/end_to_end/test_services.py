"""A real scheduler and executor: `up`, a training, a backfill through Airflow's REST API, killed tasks, `down`.

The tests of this file are one story, told in order on one installation.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from pipeline.local.credentials import credentials
from pipeline.local.postgres import embedded
from pipeline.local.services.lifecycle import down
from pipeline.local.services.processes import marked, supervisors
from pipeline.orchestration import service_lock
from pipeline.settings import Settings
from pipeline.weeks import Week
from tests.company import company_settings
from tests.end_to_end.airflow import Api, answer, free_ports, questions
from tests.service.readme import SCORE_FILES, in_a_shell
from tests.waiting import until

pytestmark = pytest.mark.timeout(1200)
AS_OF = Week.parse("2026-02-16")
WEEKS = [AS_OF.plus(n) for n in range(1, 4)]


@pytest.fixture(scope="module")
def installation(company: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A company and a home of its own with an embedded server of its own, on free ports; nothing is left of it."""
    company = shutil.copytree(company, tmp_path_factory.mktemp("copy") / "company")
    ports = ("SERVICES__AIRFLOW_PORT", "SERVICES__MLFLOW_PORT", "SERVICE__PORT")
    overrides = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
    settings = company_settings(company, tmp_path_factory.mktemp("installation") / "a home", **overrides)
    yield settings
    down(settings)
    embedded.remove(settings.home)


@pytest.fixture(scope="module")
def environ(installation: Settings) -> dict[str, str]:
    """The variables that a person would set."""
    return {
        "BAROMETER_CONFIG": str(installation.config_file),
        "BAROMETER_HOME": str(installation.home),
        **{f"BAROMETER__SERVICES__{k.upper()}": str(v) for k, v in installation.services.model_dump().items()},
        "BAROMETER__SERVICE__PORT": str(installation.service.port),
        "BAROMETER__PROMOTION__APPROVAL": "true",
        "BAROMETER__PROMOTION__CALIBRATION_ERROR": "0.3",  # of a hundred answers
    }


@pytest.fixture(scope="module")
def barometer(environ: dict[str, str]) -> Any:
    """Call the command as a person would, in a process of its own."""

    def call(*arguments: str, code: int = 0) -> str:
        command = [str(Path(sys.executable).with_name("barometer")), *arguments]
        done = subprocess.run(
            command, env=os.environ | environ, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    return call


@pytest.fixture(scope="module")
def services(barometer) -> dict[str, str]:
    """Where everything is, once it is up; asked of the command, so that this process does not use the server itself."""
    said = barometer("up")
    found = json.loads(barometer("status", "--json"))["services"]
    for address in found.values():
        assert address in said
    return found


@pytest.fixture(scope="module")
def api(installation, services) -> Iterator[Api]:
    with Api(installation, "operator") as api:
        yield api


@pytest.fixture(scope="module")
def trained(barometer, services) -> dict[str, Any]:
    return json.loads(barometer("train", "--as-of", str(AS_OF), "--json"))


def supervised(settings: Settings) -> set[int]:
    """The supervisor and the components; what they start themselves comes and goes."""
    supervisor = min(marked(settings.home), key=lambda process: process.create_time())
    assert "pipeline.local.services.supervisor" in supervisor.cmdline()
    return {supervisor.pid, *(child.pid for child in supervisor.children())}


def test_up_is_harmless_twice(services, barometer, installation):
    before = supervised(installation)
    barometer("up")
    assert len(before) > 6
    assert supervised(installation) == before


def test_everything_listens_on_this_machine_only(services, installation):
    listening = set()
    for process in marked(installation.home):
        with suppress(psutil.NoSuchProcess):  # some are short-lived
            listening |= {each.laddr.ip for each in process.net_connections("tcp") if each.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def test_mlflow_and_the_warehouse_are_where_up_said(services):
    assert httpx.get(f"{services['MLflow']}/health").text == "OK"
    with psycopg.connect(services["warehouse for BI tools"]) as analyst:
        assert analyst.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
        with pytest.raises(psycopg.errors.Error, match=r"permission denied|read-only"):
            analyst.execute("DELETE FROM prediction_runs")


def test_secrets_are_for_their_owner_only(services, installation):
    for name in ("credentials.json", "airflow/passwords.json"):
        assert (installation.home / name).stat().st_mode & 0o077 == 0
    for process in marked(installation.home):
        with suppress(psutil.NoSuchProcess):
            assert credentials(installation.home).postgres_password not in " ".join(process.cmdline())


def test_a_viewer_cannot_run_anything(installation, services):
    body = {"logical_date": None, "conf": {}}
    with Api(installation, "viewer") as viewer:
        assert viewer.client.post("/api/v2/dags/weekly_predictions/dagRuns", json=body).status_code == 403
        assert viewer.client.get("/api/v2/dags/weekly_predictions").status_code == 200


def test_the_service_is_up_before_there_is_a_model(services, barometer):
    address = services["predictions and reports"]
    assert httpx.get(f"{address}/healthz").is_success
    assert httpx.get(f"{address}/readyz").status_code == 503
    said = json.loads(barometer("status", "--json"))["service"]
    assert (said["status"], said["champion"], said["address"]) == ("not ready", None, address)


def test_the_command_trains_through_the_services(trained, api):
    assert trained["is_champion"]
    (run,) = api("GET", "dags/train_model/dagRuns")["dag_runs"]
    assert run["state"] == "success"
    assert run["triggering_user_name"] == "operator"


def test_the_service_takes_up_the_first_model_by_itself(services, trained, barometer):
    ready = f"{services['predictions and reports']}/readyz"
    until(lambda: httpx.get(ready).json()["champion"] == trained["version"], 120)
    assert f"ready, serves version {trained['version']}" in barometer("status")


def test_files_are_scored_as_the_readme_says(services, trained, environ, installation, tmp_path):
    (tmp_path / "rows.csv").write_text("kind,events,amount,is_busy\na,3,20.5,true\nunseen,,7,false\nb,many,1,true\n")
    said, _ = in_a_shell(SCORE_FILES, environ, installation.service.port, tmp_path)
    job = json.loads(said[0])
    deadline = time.monotonic() + 240
    with httpx.Client(base_url=services["predictions and reports"]) as client:
        while (told := client.get(job["links"]["self"]).json())["state"] != "succeeded":
            assert told["state"] in {"queued", "running"}, told
            assert time.monotonic() < deadline
            time.sleep(0.5)
        results = client.get(told["links"]["results"]).text
    assert told["counts"] == {"rows": 3, "predicted": 2, "unreadable": 1, "quarantined": 0}
    assert results == (tmp_path / "predictions.csv").read_text()


def test_a_backfill_publishes_every_week_although_tasks_are_killed(services, trained, api, installation):
    zone = installation.zone
    api(
        "POST",
        "backfills",
        json={
            "dag_id": "weekly_predictions",
            "from_date": WEEKS[0].start(zone).isoformat(),
            "to_date": WEEKS[-1].start(zone).isoformat(),
            "dag_run_conf": {"model": "current"},
            "max_active_runs": 3,
            "reprocess_behavior": "none",
        },
    )
    killed = kill_tasks_until_done(api, to_kill={"ingest", "score", "publish"})
    runs = backfill_runs(api)
    assert [run["state"] for run in runs] == ["success"] * len(WEEKS)
    assert killed, "no task was caught while it ran"

    with psycopg.connect(services["warehouse for BI tools"]) as analyst:
        published = analyst.execute(
            "SELECT r.week::text, r.model_version, r.model_reason, r.subjects, r.predicted + r.quarantined,"
            " (SELECT count(*) FROM predictions AS p WHERE p.week = r.week AND p.run_id = r.run_id), r.predicted"
            " FROM prediction_runs AS r WHERE state = 'published' AND airflow_run_id LIKE 'backfill%' ORDER BY 1"
        ).fetchall()
    assert [row[0] for row in published] == [str(week) for week in WEEKS]
    for _, version, reason, subjects, accounted, served, predicted in published:
        assert (version, reason) == (trained["version"], "the champion")
        assert subjects == accounted == 100
        assert served == predicted
    for week in WEEKS:
        assert httpx.get(f"{services['predictions and reports']}/reports/{week}.html").is_success


def test_a_refused_task_is_cleared_and_the_run_goes_on(services, trained, api, barometer, installation):
    """As the runbook says: mend the file, clear the task; then a replay, through the scheduler too."""
    week = WEEKS[-1]
    feed = installation.landing / f"events-{week}.csv"
    good = feed.read_text()
    feed.write_text(good + "c0003,p0\nc0004,p1\nc0005,p2\n")
    body = {"dag_run_id": "to_be_cleared", "logical_date": None, "conf": {"week": str(week), "rebuild": True}}
    api("POST", "dags/weekly_predictions/dagRuns", json=body)
    run = "dags/weekly_predictions/dagRuns/to_be_cleared"
    assert ended(api, run) == "failed"
    (refused,) = json.loads(barometer("quarantine", "list", "--week", str(week), "--json"))[1:]
    assert (refused["state"], refused["rejects"]) == ("failed", 3)
    feed.write_text(good + f"c0003,p0,{week} 10:00:00,12.50,a\nc0004,p1\n")
    again = {"dry_run": False, "dag_run_id": "to_be_cleared", "task_ids": ["ingest"], "include_downstream": True}
    api("POST", "dags/weekly_predictions/clearTaskInstances", json={**again, "only_failed": False})
    assert ended(api, run) == "success"
    with psycopg.connect(services["warehouse for BI tools"]) as analyst:
        query = "SELECT state, error, rejects, quarantined, predicted FROM prediction_runs WHERE run_id = %s"
        assert analyst.execute(query, [refused["run_id"]]).fetchall() == [("published", None, 1, 0, 100)]
        served = "SELECT count(*), count(DISTINCT run_id) FROM predictions WHERE week = %s"
        assert analyst.execute(served, [str(week)]).fetchall() == [(100, 1)]
    feed.write_text(good)
    replayed = json.loads(barometer("replay", "--week", str(week), "--json"))
    assert list(replayed["reject_counts"].values()) == [0, 0, 1]
    assert replayed["before"] == refused["run_id"]


def ended(api: Api, run: str) -> str:
    """Wait for the end of a DAG run and return how it ended."""
    while (state := api("GET", run)["state"]) not in {"success", "failed"}:
        time.sleep(0.5)
    return state


def test_a_person_rejects_a_promotion_in_airflow(services, installation, trained, api, barometer):
    """The command waits for the answer, which the history keeps (for an approval see `test_model_life`)."""
    candidate = json.loads(barometer("train", "--as-of", str(AS_OF), "--json"))["version"]
    command = ("promote", candidate, "--from-week", str(AS_OF), "--reason", "a trial")
    with ThreadPoolExecutor(1) as person:
        promotion = person.submit(barometer, *command, code=1)
        while not promotion.done():
            for question in questions(installation, api):
                assert "The gate found" in question["body"]
                answer(api, question, "Reject", "with a comment")
            time.sleep(0.5)
    said = promotion.result()
    assert f"Error: operator rejected the promotion of version {candidate}: with a comment." in said
    versions = {known["version"]: known for known in json.loads(barometer("models", "list", "--json"))}
    assert (versions[candidate]["state"], versions[trained["version"]]["state"]) == ("rejected", "champion")
    (rejected,) = versions[candidate]["history"]
    assert (rejected["state"], rejected["promoted_by"]) == ("rejected", "operator")
    assert rejected["reason"].startswith("a trial (asked for by ")
    assert rejected["reason"].endswith("); rejected: with a comment")
    states = api("GET", f"dags/train_model/dagRuns/{rejected['airflow_run_id']}/taskInstances")["task_instances"]
    by_task = {task["task_id"]: task["state"] for task in states}
    assert [by_task[task] for task in ("plan", "register", "gate", "approve", "promote")] == [
        "skipped", "skipped", "success", "success", "skipped",
    ]  # fmt: skip


def test_the_log_of_a_task_can_be_read(trained, api):
    run = backfill_runs(api)[0]["dag_run_id"]
    log = api.client.get(f"/api/v2/dags/weekly_predictions/dagRuns/{run}/taskInstances/publish/logs/1")
    assert log.is_success


def test_down_leaves_nothing_behind_even_when_the_supervisor_was_killed(services, installation, barometer):
    assert servers(installation)
    (supervisor,) = supervisors(installation.home)
    supervisor.kill()
    supervisor.wait()
    assert service_lock.services_are_up(installation)
    barometer("down")
    assert marked(installation.home) == []
    assert servers(installation) == []
    assert not service_lock.services_are_up(installation)
    assert all(is_free(port) for port in installation.services.model_dump().values())


def servers(settings: Settings) -> list[psutil.Process]:
    """The processes of the embedded server, which work in its folder."""
    folder = str((settings.home / "postgres/data").resolve())
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == folder]


def backfill_runs(api: Api) -> list[dict[str, Any]]:
    found = api("GET", "dags/weekly_predictions/dagRuns", params={"order_by": "logical_date", "limit": 100})
    return [run for run in found["dag_runs"] if run["run_type"] == "backfill"]


def kill_tasks_until_done(api: Api, to_kill: set[str]) -> set[str]:
    """Wait for the backfill's end; on the way send SIGKILL to the first running task of each of these names."""
    killed: set[str] = set()
    while any(run["state"] in {"queued", "running"} for run in backfill_runs(api)) or not backfill_runs(api):
        found = api("GET", "dags/weekly_predictions/dagRuns/~/taskInstances", params={"state": "running"})
        for task in found["task_instances"]:
            is_wanted = task["task_id"] in to_kill - killed and task["dag_run_id"].startswith("backfill")
            if is_wanted and task["pid"]:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(task["pid"], signal.SIGKILL)
                    killed.add(task["task_id"])
        time.sleep(0.2)
    return killed


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
