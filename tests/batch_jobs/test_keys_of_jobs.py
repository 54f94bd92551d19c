"""An Idempotency-Key names its job while there is something to replay, and a new job after that."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from pipeline.batch_jobs.places import FINISHED_FILE, job_folder
from tests.batch_jobs.airflow_double import Runs, airflow_double
from tests.service.server import running

PATH = "/batch-predictions"
ROWS, OTHERS = b"events\n1\n", b"events\n2\n"


@pytest.fixture
def airflow(settings) -> Iterator[tuple[int, Runs]]:
    (settings.home / "airflow").mkdir(parents=True)
    (settings.home / "airflow" / "passwords.json").write_text("{}")
    with airflow_double() as (port, runs):
        yield port, runs


@pytest.fixture
def runs(airflow) -> Runs:
    return airflow[1]


@pytest.fixture
def http(settings, airflow) -> Iterator[httpx.Client]:
    services = settings.services.model_copy(update={"airflow_port": airflow[0]})
    nowhere = settings.database.model_copy(update={"url": "postgresql://nobody@127.0.0.1:1"})
    beside = settings.model_copy(update={"services": services, "database": nowhere})
    with running(beside) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def hand_in(http: httpx.Client, content: bytes = ROWS, key: str = "monday") -> httpx.Response:
    return http.post(PATH, content=content, headers={"content-type": "text/csv", "idempotency-key": key})


def succeed(settings, runs: Runs, job_id: str, ended_at: datetime | None = None) -> None:
    (job_folder(settings, job_id) / FINISHED_FILE).write_text("{}")
    runs.end(job_id, "success", ended_at=ended_at)


def test_while_a_job_lives_its_key_replays_it(settings, http, runs):
    first = hand_in(http)
    for _ in range(2):
        again = hand_in(http)
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert again.headers["idempotency-replayed"] == "true"
        assert hand_in(http, OTHERS).status_code == 422
        succeed(settings, runs, first.json()["id"])
    assert "idempotency-replayed" not in first.headers
    assert len(runs.by_id) == 1


def cancelled(settings, http, runs, job_id):
    assert http.delete(f"{PATH}/{job_id}").json()["state"] == "cancelled"


def failed(settings, http, runs, job_id):
    runs.end(job_id, "failed")


def expired(settings, http, runs, job_id):
    succeed(settings, runs, job_id, datetime.now(UTC) - timedelta(days=settings.service.results_days, seconds=1))


def removed(settings, http, runs, job_id):
    succeed(settings, runs, job_id)
    assert {"results", "rejects"} <= http.get(f"{PATH}/{job_id}").json()["links"].keys()
    assert http.delete(f"{PATH}/{job_id}").json()["links"].keys() == {"self"}


@pytest.mark.parametrize("content", [ROWS, OTHERS])
@pytest.mark.parametrize("end", [cancelled, failed, expired, removed])
def test_where_nothing_is_left_to_replay_the_key_begins_anew(settings, http, runs, end: Callable[..., None], content):
    seen = []
    for _ in range(3):
        begun = hand_in(http, content if seen else ROWS)
        assert begun.status_code == 202
        assert "idempotency-replayed" not in begun.headers
        job = begun.json()
        assert job["state"] == "queued"
        assert runs.by_id[job["id"]]["conf"]["file"].startswith(f"{job['id']}/")
        replayed = hand_in(http, content if seen else ROWS)
        assert replayed.json()["id"] == job["id"]
        assert replayed.headers["idempotency-replayed"] == "true"
        seen.append(job["id"])
        end(settings, http, runs, job["id"])
    assert len(set(seen)) == 3
    for job_id in seen:
        assert http.get(f"{PATH}/{job_id}").json()["id"] == job_id


def test_what_airflow_has_forgotten_does_not_bring_a_second_job(http, runs):
    first = hand_in(http).json()["id"]
    runs.end(first, "failed")
    second = hand_in(http).json()["id"]
    del runs.by_id[first]
    assert hand_in(http).json()["id"] == second


@pytest.mark.parametrize("begins_anew", [False, True])
def test_many_at_once_are_one_job(http, runs, begins_anew):
    if begins_anew:
        runs.end(hand_in(http).json()["id"], "failed")
    before = len(runs.by_id)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: hand_in(http), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(runs.by_id) == before + 1
    assert ["idempotency-replayed" in answer.headers for answer in answers].count(False) == 1


def test_without_a_key_every_request_is_a_job(http, runs):
    for _ in range(2):
        assert http.post(PATH, content=ROWS, headers={"content-type": "text/csv"}).status_code == 202
    assert len(runs.by_id) == 2


def test_where_no_airflow_was_ever_started_it_says_so(settings, http, runs):
    (settings.home / "airflow" / "passwords.json").unlink()
    for method, path in (("POST", ""), ("GET", ""), ("GET", "/x"), ("GET", "/x/results"), ("DELETE", "/x")):
        answer = http.request(method, PATH + path, headers={"content-type": "text/csv"})
        assert answer.status_code == 501
        assert "no Airflow was ever started" in answer.json()["detail"]
    assert not (settings.home / "credentials.json").exists()
    (settings.home / "airflow" / "passwords.json").write_text("{}")  # make up does it while the service runs
    assert hand_in(http).status_code == 202


def test_results_whose_file_was_lost_are_gone(settings, http, runs):
    job_id = hand_in(http).json()["id"]
    succeed(settings, runs, job_id)
    answer = http.get(f"{PATH}/{job_id}/results")
    assert answer.status_code == 410, answer.text


def test_a_run_that_airflow_triggered_with_another_id_has_no_results(http, runs):
    runs.trigger("file__anybody__jürgen", {})
    runs.end("file__anybody__jürgen", "success")
    (job,) = http.get(PATH).json()["jobs"]
    assert (job["state"], job["links"].keys()) == ("succeeded", {"self"})
