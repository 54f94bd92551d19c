"""Completing what instances leave out: few looks into the warehouse, however a body is made, and none in vain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from sqlalchemy import event, make_url

from pipeline.service.published.lookup import Lookup
from tests.company import company_settings, own_database
from tests.service.proxy import Wire
from tests.service.server import Server
from tests.service.versions import MARCH
from tests.service.whole import SUBJECT, whole_service

MOST = 100
KEYS = dict(zip(("customer_id", "product_id"), SUBJECT, strict=True))
WHOLE = {"events": 3, "amount": None, "is_busy": True, "kind": "a"}


@pytest.fixture(scope="module")
def server(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str, wire: Wire) -> Iterator[Server]:
    url = make_url(server_url).set(port=wire.port).render_as_string(hide_password=False)
    home = tmp_path_factory.mktemp("completing") / "a home"
    with whole_service(company_settings(company, home, **own_database(url))) as started:
        yield started


@pytest.fixture
def queries(server: Server) -> Iterator[list[str]]:
    """What the service asks the warehouse for those who ask it."""
    lookup = server.application.lookup
    assert lookup is not None
    asked: list[str] = []

    def note(*about: Any) -> None:
        asked.append(about[2])

    event.listen(lookup.engine, "before_cursor_execute", note)
    yield asked
    event.remove(lookup.engine, "before_cursor_execute", note)


def predict(server: Server, instances: list[dict[str, Any]], *, on_error: str = "row") -> httpx.Response:
    return httpx.post(f"{server.url}/predict", params={"on_error": on_error}, json={"instances": instances}, timeout=60)


def nobody(number: int) -> dict[str, str]:
    return {"customer_id": f"nobody{number}", "product_id": "x"}


def test_subjects_in_vain_are_counted_and_looked_up_by_one_query_in_any_form(server: Server, queries: list[str]):
    answered = predict(server, [nobody(number) for number in range(MOST + 50)])
    assert answered.status_code == 200
    lines = "customer_id,product_id\n" + "".join(f"nobody{number},x\n" for number in range(MOST + 50))
    in_csv = httpx.post(f"{server.url}/predict?on_error=row", content=lines, headers={"content-type": "text/csv"})
    assert in_csv.json() == answered.json()
    said = [row["error"] for row in answered.json()["predictions"]]
    assert ["in no published week" in error for error in said] == [True] * MOST + [False] * 50
    assert [f"more than {MOST}" in error for error in said] == [False] * MOST + [True] * 50
    assert len(queries) == 2, "one for each request"


def test_the_first_too_many_refuses_the_request_before_anything_is_looked_up(server: Server, queries: list[str]):
    refused = predict(server, [nobody(number) for number in range(MOST + 1)], on_error="refuse")
    assert (refused.status_code, refused.json()["row"]) == (422, MOST)
    assert f"more than {MOST}" in refused.json()["detail"]
    assert queries == []


def test_each_row_is_completed_from_its_own_subject(server: Server, queries: list[str]):
    files = (server.application.settings.home / "snapshots/a").glob("shard-*.parquet")
    subjects = [row for file in files for row in pq.read_table(file, columns=[*KEYS]).to_pylist()]
    known = subjects[:: len(subjects) // 11][:12]
    assert len(known) == 12
    alone = [predict(server, [subject]).json()["predictions"][0] for subject in known]
    del queries[:]
    changed = [KEYS | {"kind": "a"}, KEYS | {"kind": "b"}, KEYS | {"amount": 1, "events": 2}]
    rows: list[dict[str, Any]] = [WHOLE, *known, nobody(1), KEYS | {"kind": 1}, *changed, *known]
    together = predict(server, rows).json()["predictions"]
    assert len(queries) == 1
    assert "features_week" not in together[0]
    assert together[1:13] == together[-12:] == alone
    assert together[1]["features_week"] == str(MARCH)
    assert "in no published week" in together[13]["error"]
    assert together[14]["field"] == "kind"
    assert [predict(server, [row]).json()["predictions"][0] for row in changed] == together[15:18]


def test_a_bad_row_refuses_the_request_before_any_lookup(server: Server, queries: list[str]):
    refused = predict(server, [KEYS, WHOLE | {"kind": 1}], on_error="refuse")
    assert (refused.status_code, refused.json()["row"]) == (422, 1)
    refused = predict(server, [WHOLE, KEYS, nobody(1)], on_error="refuse")
    assert (refused.status_code, refused.json()["row"]) == (404, 2)
    assert len(queries) == 1


@pytest.mark.parametrize("on_error", ["row", "refuse"])
def test_a_warehouse_that_is_away_ends_the_request(server: Server, wire: Wire, queries: list[str], on_error: str):
    wire.cut()
    try:
        refused = predict(server, [WHOLE, *(nobody(number) for number in range(60))], on_error=on_error)
    finally:
        wire.mend()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["detail"].startswith("The warehouse does not answer.")
    assert predict(server, [WHOLE]).status_code == 200


def test_a_warehouse_that_goes_away_meanwhile_costs_the_form_only_the_usual_satisfaction(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
):
    usual = Lookup.usual
    monkeypatch.setattr(Lookup, "usual", lambda *given: wire.cut() or usual(*given))
    try:
        answered = httpx.post(server.url, data=KEYS, timeout=60)
    finally:
        wire.mend()
    assert answered.status_code == 200
    assert "<title>Likely " in answered.text
