"""The page with a warehouse: features come from the latest snapshot, changes are used, problems are shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.manifests import SnapshotManifest
from pipeline.models import registry
from pipeline.models.mlflow_client import mlflow_client
from pipeline.point_in_time.snapshot import build_snapshot
from pipeline.settings import Settings
from pipeline.settings.model import Routing
from pipeline.sources.week_sources import read_sources
from tests.browsing import Watched, focused, needs_chromium, tab_to
from tests.company import company_settings, own_database
from tests.handmade import WEEK
from tests.published import publish_week
from tests.service.server import Server, running
from tests.service.test_page import said
from tests.service.versions import add_version, altered, standing

KEPT_OUT = ("c0001", "p1")
USUAL = 0.625


@pytest.fixture(scope="module")
def settings(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    """Settings of a home with a champion, another version, and a published week with its snapshot and its report."""
    home = tmp_path_factory.mktemp("subject") / "a home"
    settings = company_settings(company, home, **own_database(server_url))
    champion = add_version(settings, "sober", 0.3)
    add_version(settings, "merry", 0.0)
    standing(settings, champion)
    manifest = build_snapshot(settings, WEEK, read_sources(settings, WEEK), home / "snapshots" / str(WEEK))
    publish_week(
        settings,
        WEEK,
        [("c0000", "p0", 0.75, None), ("c0003", "p0", 0.5, None)],
        quarantined={KEPT_OUT: ["kind is known"]},
        snapshot_manifest=str(manifest),
        snapshot_digest=SnapshotManifest.read(manifest).digest,
    )
    reports = settings.site / "reports"
    reports.mkdir(parents=True)
    for week, headline in ((WEEK.plus(-1), "an older one"), (WEEK, "Satisfaction held at 62.5%.")):
        (reports / f"{week}.json").write_text(json.dumps({"week": str(week), "headline": headline}))
        (reports / f"{week}.html").write_text(headline)
    for at, wrong in enumerate(("no summary", "[]", '{"week": "2099-01-05"}', '{"week": 1, "headline": "x"}')):
        (reports / f"2099-01-0{at}.json").write_text(wrong)
    return settings


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[Server]:
    with running(settings) as started:
        yield started


def api(server: Server, **instance: object) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/predict", json={"instances": [instance]})
    return answer.raise_for_status().json()["predictions"][0]


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_a_subject_is_looked_up_and_then_changed(server: Server, browser: Any, width: int, tmp_path: Path):
    watched = Watched(browser, viewport={"width": width, "height": 800}, java_script_enabled=width == 1280)
    page = watched.page
    page.goto(server.url)
    tab_to(page, "customer_id")
    page.keyboard.type("c0000")
    page.keyboard.press("Tab")
    page.keyboard.type("p0")
    page.keyboard.press("Enter")
    page.wait_for_url("**/#answer")
    subject = {"customer_id": "c0000", "product_id": "p0"}
    from_snapshot = api(server, **subject)
    assert from_snapshot["features_week"] == str(WEEK)
    assert said(page.content()) == from_snapshot["satisfaction"]
    answer = page.locator("#answer").inner_text()
    assert f"at the end of the week of {WEEK.monday.day} {WEEK.monday:%B %Y}" in answer
    assert "points" in answer
    assert f"the product's usual, {USUAL:.1%}" in answer
    watched.must_be_fit(server.url, tmp_path / "looked-up.png")

    amount = page.get_by_label("Amount")
    assert float(amount.input_value()) > 0, "the form now holds the subject's features"
    amount.fill("1")
    page.get_by_label("Kind").select_option("a")
    amount.press("Enter")
    page.wait_for_selector("ul.changes")
    assert focused(page) == "answer"
    changed = api(server, **subject, amount=1, kind="a")
    assert said(page.content()) == changed["satisfaction"]
    assert changed["satisfaction"] != from_snapshot["satisfaction"]
    assert [line.inner_text().split(":")[0] for line in page.locator("ul.changes li").all()] == ["Amount", "Kind"]
    assert "with 2 changes" in page.locator("#answer").inner_text()
    command = page.locator("#answer pre").text_content()
    assert '"amount": 1.0, "kind": "a", "customer_id": "c0000"' in command
    watched.must_be_fit(server.url, tmp_path / "changed.png")
    watched.context.close()


def test_features_left_out_come_from_the_snapshot(server: Server):
    """A field that is left out, as in the first form, has the snapshot's value; an emptied one is not known."""
    subject = {"customer_id": "c0003", "product_id": "p0"}
    shown = httpx.post(server.url, data=subject).text
    assert (
        said(httpx.post(server.url, data={**subject, "events": "2"}).text)
        == api(server, **subject, events=2)["satisfaction"]
    )
    assert said(shown) == api(server, **subject)["satisfaction"]
    emptied = httpx.post(server.url, data={**subject, "kind": ""}).text
    assert said(emptied) == api(server, **subject, kind=None)["satisfaction"], "emptied is not known, not untouched"


@pytest.mark.parametrize(
    ("customer", "product", "beside"),
    [
        ("nobody", "p0", "No published week has the customer &#39;nobody&#39;"),
        ("c0000", "", "There is no product."),
        ("", "p0", "There is no customer."),
        (*KEPT_OUT, "kind is known"),
        ("c\0", "p0", "No published week has"),
        ("<script>x", "p0", "&lt;script&gt;x"),
    ],
)
def test_a_subject_that_cannot_be_looked_up_is_an_error_beside_its_field(
    server: Server, customer: str, product: str, beside: str
):
    refused = httpx.post(server.url, data={"customer_id": customer, "product_id": product})
    assert refused.status_code == 422
    assert beside in refused.text
    assert '_id-error">' in refused.text
    assert "<script" not in refused.text
    assert 'id="f0"' in refused.text, "the other form is still there"


def test_the_latest_report_is_linked(server: Server):
    page = httpx.get(server.url).text
    assert "Satisfaction held at 62.5%." in page
    assert httpx.get(f"{server.url}/reports/{WEEK}.html").text == "Satisfaction held at 62.5%."
    assert f'href="/reports/{WEEK}.html"' in page
    assert "an older one" not in page


def test_trouble_is_shown_while_the_last_good_version_answers(server: Server, settings: Settings):
    current = server.application.current
    client = mlflow_client(settings)
    folder, _ = registry.bundle_of(settings, "2")
    before = altered(folder / "scorer.npz")
    try:
        client.set_registered_model_alias("satisfaction", "champion", "2")
        current.refresh()
        page = httpx.get(server.url).text
        assert "Know this before you rely on an answer" in page
        assert "is not the registered one" in page
        assert "1 of <bdi>satisfaction" in page
        assert httpx.post(server.url, data={"kind": "a"}).status_code == 200
    finally:
        (folder / "scorer.npz").write_bytes(before)
        client.set_registered_model_alias("satisfaction", "champion", "1")
        current.refresh()
    assert "Know this" not in httpx.get(server.url).text


@pytest.mark.parametrize(
    ("routing", "described", "served_by"),
    [
        (Routing(mode="ab", fraction=1), "A/B test: version 2, the challenger, answers for 100%", "2, the challenger"),
        (Routing(mode="shadow"), "Shadow: version 2, the challenger, scores every question too", "1, the champion"),
    ],
)
def test_the_challengers_part_is_described(settings: Settings, routing: Routing, described: str, served_by: str):
    client = mlflow_client(settings)
    client.set_registered_model_alias("satisfaction", "challenger", "2")
    subject = {"customer_id": "c0000", "product_id": "p0"}
    try:
        with running(settings.model_copy(update={"routing": routing})) as server:
            page = httpx.post(server.url, data=subject).text
            assert said(page) == api(server, **subject)["satisfaction"]
    finally:
        client.delete_registered_model_alias("satisfaction", "challenger")
    assert described in page
    assert f"by version {served_by}." in page


def test_what_the_page_answers_is_recorded_like_any_other(settings: Settings):
    with running(settings) as server:
        httpx.post(server.url, data={"customer_id": "c0000", "product_id": "p0"})
    recorder = server.application.recorder
    assert recorder.written + recorder.waiting == 1
