"""Files of rows through the service and Airflow, as applications meet them: handed in, followed, fetched, cancelled.

`score_files` is the whole story, for a test that has the services up, a champion and a challenger in an A/B test.
"""

import csv
import gzip
import io
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.batch_jobs.places import files_folder, sweep
from pipeline.errors import ServerError
from pipeline.orchestration.airflow_api import AirflowApi
from pipeline.service.access import key_file
from pipeline.settings import Settings
from tests.batch_jobs.conftest import GOOD, csv_of, jsonl_of
from tests.batch_jobs.test_stages import some_rows
from tests.service.server import running

PATH = "/batch-predictions"
POLL_SECONDS = 0.5
ROWS = [*some_rows(130), {**GOOD, "amount": "a lot"}, {**GOOD, "amount": -1}, GOOD]
"""Of two shards; one row cannot be read, one is quarantined."""


def score_files(settings: Settings, sources: Path) -> None:
    """Hand in files and see to it that everything about them is right.

    Parameters
    ----------
    settings
        Of an installation whose services are up; `service.file_sources` lists the folder `sources`.
    sources
        An empty folder.
    """
    sources.mkdir()
    logged_in_again(settings)
    with asking(settings) as http:
        uploaded = upload(http, **{"idempotency-key": "monday"})
        (sources / "rows.jsonl.gz").write_bytes(gzip.compress(jsonl_of(ROWS)))
        by_uri = accepted(http.post(PATH, json={"uri": f"file://{sources}/rows.jsonl.gz"}))
        of_no_use = accepted(http.post(PATH, files={"file": ("rows.csv", b"customer_id,events\nc1,3\n")}))
        repeated(http, uploaded)
        not_yet(http, of_no_use)
        cancelled(http)
    with asking(settings) as http:  # another process may have been started since: the state is Airflow's
        done = ended(http, uploaded)
        assert (done["state"], done["error"], done["ignored_columns"]) == ("succeeded", None, [])
        check_numbers(http, done)
        in_json = ended(http, by_uri)
        assert in_json["counts"] == done["counts"]
        assert done["counts"] == {"rows": 133, "predicted": 131, "unreadable": 1, "quarantined": 1}
        assert answers(lines(http, in_json)) == answers(lines(http, done))
        failed = ended(http, of_no_use)
        assert failed["state"] == "failed"
        assert failed["error"]["detail"].startswith("The file has no column 'amount'")
        assert str(settings.home) not in json.dumps(failed)
    keys_see_their_own(settings)
    expired(settings, done, in_json)


def logged_in_again(settings: Settings) -> None:
    """A session whose token has expired logs in again; other refusals are raised."""
    with closing(AirflowApi(settings)) as api:
        api.token = "no longer good"
        assert api.knows("score_file")
        assert not api.knows("no_such_dag")
        assert api.dag_run("score_file", "no such run") is None
        with pytest.raises(ServerError, match="answered 4"):
            api.fail("score_file", "no such run", "a note")


@contextmanager
def asking(settings: Settings, **service: object) -> Iterator[httpx.Client]:
    """Start a service beside those that are up, and ask it."""
    changed = settings.model_copy(update={"service": settings.service.model_copy(update=service)})
    with running(changed) as server, Patient(base_url=server.url, timeout=60) as http:
        yield http


class Patient(httpx.Client):
    """Tries again after a 503, because Airflow answers slowly on a busy machine."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + 120
        while (answer := super().send(request, **options)).status_code == 503 and time.monotonic() < deadline:
            time.sleep(float(answer.headers["retry-after"]))
        return answer


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"] == f"{PATH}/{job['id']}"
    return job


def upload(http: httpx.Client, rows: list[dict[str, Any]] = ROWS, **headers: str) -> dict[str, Any]:
    return accepted(http.post(PATH, content=csv_of(rows), headers={"content-type": "text/csv", **headers}))


def ended(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Follow a job to its end."""
    deadline = time.monotonic() + 240
    while (told := http.get(job["links"]["self"]).json())["state"] in {"queued", "running"}:
        assert time.monotonic() < deadline, told
        time.sleep(POLL_SECONDS)
    return told


def repeated(http: httpx.Client, first: dict[str, Any]) -> None:
    """The same key and content are the same job; the same key and other content is a mistake."""
    again = http.post(PATH, content=csv_of(ROWS), headers={"content-type": "text/csv", "idempotency-key": "monday"})
    assert accepted(again)["id"] == first["id"]
    assert again.headers["idempotency-replayed"] == "true"
    other = {"content-type": "text/csv", "idempotency-key": "monday"}
    refused = http.post(PATH, content=csv_of([GOOD]), headers=other)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def ids(http: httpx.Client, **headers: str) -> set[str]:
    return {job["id"] for job in http.get(PATH, headers=headers).json()["jobs"]}


def not_yet(http: httpx.Client, job: dict[str, Any]) -> None:
    for part in ("results", "rejects"):
        refused = http.get(f"{PATH}/{job['id']}/{part}")
        assert (refused.status_code, refused.headers["retry-after"]) == (409, "10")
    assert http.get(f"{PATH}/file__anybody__x").status_code == 404
    assert http.get(f"{PATH}/~").status_code == 404


def cancelled(http: httpx.Client) -> None:
    job = upload(http)
    told = http.delete(job["links"]["self"]).json()
    assert told["state"] == "cancelled"
    assert ended(http, job)["state"] == "cancelled"
    assert http.get(f"{PATH}/{job['id']}/results").status_code == 409


def lines(http: httpx.Client, job: dict[str, Any], part: str = "results") -> list[dict[str, Any]]:
    answer = http.get(job["links"][part], headers={"accept": "application/jsonlines"})
    assert answer.is_success, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def answers(results: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What is said of each row, but for why it has no prediction."""
    return [
        tuple(row[name] for name in ("row", "customer_id", "satisfaction", "role", "model_version")) for row in results
    ]


def check_numbers(http: httpx.Client, job: dict[str, Any]) -> None:
    """All three forms say the same, and what an on-demand request is answered, the A/B test's split included."""
    results = lines(http, job)
    assert [row["row"] for row in results] == list(range(133))
    good = [row for row in results if row["error"] is None]
    on_demand = http.post("/predict", json={"instances": [*ROWS[:130], GOOD]}).json()["predictions"]
    for row, said in zip(good, on_demand, strict=True):
        assert row["satisfaction"] == pytest.approx(said["satisfaction"], abs=1e-6)
        assert (row["role"], row["model_version"]) == (said["role"], said["model_version"])
    assert {row["role"] for row in good} == {"champion", "challenger"}
    in_parquet = pq.read_table(pa.BufferReader(http.get(job["links"]["results"], params={"format": "parquet"}).content))
    assert in_parquet.to_pylist() == results
    in_csv = list(csv.DictReader(io.StringIO(http.get(job["links"]["results"]).text)))
    assert [float(row["satisfaction"] or -1) for row in in_csv] == [row["satisfaction"] or -1 for row in results]
    assert [row["error"] or None for row in in_csv] == [row["error"] for row in results]
    rejects = lines(http, job, "rejects")
    assert [(row["row"], row["line"], row["kind"]) for row in rejects] == [
        (130, 132, "unreadable"), (131, 133, "quarantined"),
    ]  # fmt: skip
    assert rejects[0]["content"] == "c1,p1,3,a lot,True,a"
    assert http.get(job["links"]["results"], headers={"accept": "image/png"}).status_code == 406


def keys_see_their_own(settings: Settings) -> None:
    keys = settings.home / "keys-of-files.json"
    made = {name: key_file.create(keys, name, [scope])[1] for name, scope in NAMES.items()}
    with asking(settings, auth="keys", keys_file=str(keys)) as http:
        asked = {name: {"x-api-key": key} for name, key in made.items()}
        assert http.get(PATH, headers=asked["predicts"]).status_code == 403
        job = upload(http, [GOOD], **asked["a"], **{"idempotency-key": "monday"})
        others = upload(http, [GOOD], **asked["b"], **{"idempotency-key": "monday"})
        assert job["id"] != others["id"]
        for method, path in (("GET", ""), ("GET", "/results"), ("GET", "/rejects"), ("DELETE", "")):
            refused = http.request(method, f"{PATH}/{job['id']}{path}", headers=asked["b"])
            assert refused.status_code == 404
        seen = {name: ids(http, **asked[name]) for name in ("a", "b", "root")}
        assert (seen["a"], seen["b"]) == ({job["id"]}, {others["id"]})
        assert {job["id"], others["id"]} < seen["root"]
        for each in (job, others):
            assert http.delete(f"{PATH}/{each['id']}", headers=asked["root"]).is_success


NAMES = {"a": "batch", "b": "batch", "root": "admin", "predicts": "predict"}


def expired(settings: Settings, kept: dict[str, Any], ended_by_hand: dict[str, Any]) -> None:
    """Results that are kept no longer are gone, and swept from the disk; so are those that somebody removes."""
    sweep(settings)
    with asking(settings) as http:
        assert http.get(kept["links"]["results"]).is_success
        assert http.delete(ended_by_hand["links"]["self"]).json()["state"] == "succeeded"
        assert not (files_folder(settings) / ended_by_hand["id"]).exists()
        assert http.get(ended_by_hand["links"]["rejects"]).status_code == 410
    with asking(settings, results_days=1e-6) as http:
        told = http.get(kept["links"]["self"]).json()
        assert (told["state"], set(told["links"])) == ("succeeded", {"self"})
        assert http.get(kept["links"]["results"]).status_code == 410
    assert not (files_folder(settings) / kept["id"]).exists()
