"""The page in a real browser: it works by keyboard and without scripts, and answers what `POST /predict` answers."""

import doctest
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.service.pages import form
from pipeline.settings import Settings
from tests.browsing import Watched, focused, needs_chromium, tab_to
from tests.company import company_settings
from tests.service.page_model import CITIES, EVIL, FEATURES, page_export
from tests.service.server import Server, running


@pytest.fixture(scope="module")
def server(company: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service of a model with features of every kind, without warehouse."""
    folder = page_export(company_settings(company, tmp_path_factory.mktemp("made")), tmp_path_factory.mktemp("e") / "m")
    home = tmp_path_factory.mktemp("page") / "home"
    with running(company_settings(company, home, COMPANY=f"Co {EVIL}", SERVICE__MODEL_FOLDER=str(folder))) as started:
        yield started


def api(server: Server, **instance: object) -> float:
    row = {feature.name: None for feature in FEATURES} | instance
    answer = httpx.post(f"{server.url}/predict", json={"instances": [row]})
    return answer.raise_for_status().json()["predictions"][0]["satisfaction"]


def said(text: str) -> float:
    """The exact number that a page answers."""
    return float(re.search(r'<data value="([^"]+)"', text)[1])


@needs_chromium
def test_it_is_filled_with_the_keyboard_alone_and_without_any_script(server: Server, browser: Any, tmp_path: Path):
    watched = Watched(browser, java_script_enabled=False)
    page = watched.page
    page.goto(server.url)
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"

    tab_to(page, "f0")
    page.keyboard.press("Control+A")
    page.keyboard.type("12.5")
    tab_to(page, "f2")
    page.keyboard.press("Y")
    tab_to(page, "f3")
    page.keyboard.type("gold")
    tab_to(page, "f4")
    page.keyboard.press("Control+A")
    page.keyboard.type("city 3")
    for number in ("f1", "f5", "f6"):
        page.locator(f"#{number}").focus()
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    page.wait_for_url("**/#answer")

    expected = api(server, days_since_last_order=12.5, is_subscriber=True, plan="gold", city="city 3")
    answer = page.get_by_role("status", name="Answer")
    assert float(answer.locator("data").get_attribute("value")) == expected
    assert f"{expected:.1%}" in answer.inner_text()
    assert f"this answer {expected * 100:.1f}%" in page.get_by_role("img").locator("desc").text_content()
    assert focused(page) == "answer", "a screen reader goes on there"
    assert page.title().startswith("Likely ")
    kept = [page.locator(f"#f{at}").input_value() for at in range(7)]
    assert kept == ["12.5", "", "1", "gold", "city 3", "", ""]
    assert watched.troubles == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_every_state_of_it_is_fit_to_read(server: Server, browser: Any, width: int, scheme: str, tmp_path: Path):
    watched = Watched(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = watched.page
    response = page.goto(server.url)
    assert "unsafe" not in response.headers["content-security-policy"]
    assert "script-src" not in response.headers["content-security-policy"], "default-src is 'none'"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(253, 252, 250)" if scheme == "light" else "rgb(21, 23, 27)"), "the style was let in"
    watched.must_be_fit(server.url, tmp_path / "start.png")
    page.get_by_role("button", name="Predict", exact=True).click()
    page.wait_for_selector("#answer data")
    page.get_by_text("The same from a program").click()
    watched.must_be_fit(server.url, tmp_path / "answer.png")
    page.fill("#f0", "1e39")
    page.get_by_role("button", name="Predict", exact=True).click()
    page.wait_for_selector("#f0-error")
    watched.must_be_fit(server.url, tmp_path / "error.png")
    page.goto(f"{server.url}/reports/none")
    watched.must_be_fit(server.url, tmp_path / "refused.png")
    watched.context.close()


@needs_chromium
def test_labels_are_words_and_markup_is_text(server: Server, browser: Any):
    watched = Watched(browser)
    page = watched.page
    page.goto(server.url)
    assert page.get_by_label("Days since last order").get_attribute("type") == "number"
    assert page.get_by_role("combobox", name="Is subscriber").locator("option").all_inner_texts() == [
        "Not known",
        "No",
        "Yes",
    ]
    assert page.get_by_label("<b>bold</b>").get_attribute("name") == "<b>bold</b>"
    plan = page.get_by_role("combobox", name="Plan")
    assert plan.locator("option").all_inner_texts()[:4] == ["Not known", "basic", "gold", EVIL]
    plan.select_option(EVIL)
    page.get_by_label("City").fill(EVIL)
    with page.expect_navigation():
        page.get_by_role("button", name="Predict", exact=True).click()
    values = {f.name: page.locator(f"#f{at}").input_value() for at, f in enumerate(FEATURES)}
    assert (values["plan"], values["city"]) == (EVIL, EVIL)
    assert page.locator("script, img, b").count() == 0
    assert EVIL in page.locator(".masthead").inner_text()
    numbers = {f.name: float(values[f.name]) for f in FEATURES if f.kind == "number"}
    assert said(page.content()) == api(server, plan=EVIL, city=EVIL, **numbers)
    assert watched.troubles == []
    assert all(url.startswith(server.url) for url in watched.requests if not url.startswith("data:"))


@needs_chromium
def test_an_error_is_shown_beside_its_field(server: Server, browser: Any):
    page = Watched(browser).page
    page.goto(server.url)
    page.fill("#f0", "1e39")
    page.fill("#f1", "-1e300")
    page.fill("#f5", "7")
    page.locator("#f5").press("Enter")
    page.wait_for_selector("#f1-error")
    assert focused(page) == "answer"
    assert [link.inner_text() for link in page.locator("#answer a").all()] == ["Days since last order", "Spent a month"]
    page.get_by_role("link", name="Spent a month").click()
    assert focused(page) == "f1"
    field = page.get_by_label("Spent a month")
    assert field.get_attribute("aria-invalid") == "true"
    described = " ".join(
        page.locator(f"#{one}").inner_text() for one in field.get_attribute("aria-describedby").split()
    )
    for part in ("Usually", "'-1e300' is no number", "Expected:", "What to do:"):
        assert part in described
    assert [page.locator(f"#f{at}").input_value() for at in (0, 1, 5)] == ["1e39", "-1e300", "7"], "what was entered"
    assert page.locator("#f5-error").count() == 0


def test_a_field_that_is_left_empty_or_out_is_missing_and_another_category_is_unseen(server: Server):
    empty = httpx.post(server.url, data={feature.name: "" for feature in FEATURES})
    assert said(empty.text) == said(httpx.post(server.url, data={"plan": ""}).text) == api(server)
    another = re.search(r'<option value="([^"]*)">Another one', empty.text)[1]
    assert said(httpx.post(server.url, data={"plan": another}).text) == api(server, plan="nobody has this")
    text = httpx.post(server.url, data={"days_since_last_order": " 3 ", "city": CITIES[7]}).text
    assert said(text) == api(server, days_since_last_order=3, city=CITIES[7])


@pytest.mark.parametrize("entered", ["abc", "1_000", "1,5", "NaN", "inf", "-inf", "1e39", "9" * 5000, EVIL])
def test_a_text_that_is_no_number_is_refused(server: Server, entered: str):
    refused = httpx.post(server.url, data={"spent_a_month": entered, "plan": "gold"})
    assert refused.status_code == 422
    assert 'id="f1-error"' in refused.text
    assert f'value="{entered}"' in unescape(refused.text) or entered == EVIL
    assert "<script" not in refused.text
    assert '<option value="gold" selected>' in refused.text


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (422, {"data": {"not_a_feature": "1"}}),
        (422, {"data": {f"f{at}": "1" for at in range(50)}}),
        (415, {"json": {"plan": "gold"}}),
        (415, {"content": b"plan=gold"}),
        (422, {"content": b"plan=%ff\xff", "headers": {"content-type": form.FORM_TYPE}}),
        (403, {"data": {"plan": "gold"}, "headers": {"origin": "http://example.org"}}),
        (403, {"data": {"plan": "gold"}, "headers": {"origin": "null"}}),
    ],
)
def test_a_request_that_is_not_our_form_is_refused_on_a_page(server: Server, status: int, options: dict[str, Any]):
    refused = httpx.post(server.url, **options)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "text/html; charset=utf-8"
    assert "What to do" in refused.text
    assert refused.headers["x-request-id"] in refused.text


def test_the_headers_let_nothing_in(server: Server):
    for answer in (
        httpx.get(server.url),
        httpx.post(server.url, data={"plan": "gold"}),
        httpx.get(f"{server.url}/docs"),
    ):
        names = [name for name, _ in answer.headers.multi_items()]
        assert len(names) == len(set(names))
        policy = answer.headers["content-security-policy"]
        for part in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert part in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert " on" not in "".join(re.findall(r"<\w+([^>]*)>", answer.text)).replace(" one", "")


def test_the_model_in_charge_is_described(server: Server):
    text = httpx.get(server.url).text
    assert "7 of <bdi>satisfaction" in text
    assert "ROC AUC 0.741" in text
    assert "74 of 100 cases" in text
    assert "None: the champion answers everybody." in text


def test_the_form_starts_with_usual_values(server: Server):
    text = httpx.get(server.url).text
    hint = re.search(r'id="f0-hint">Usually ([\d.]+) to ([\d.]+)\.', text)
    start = float(re.search(r'id="f0"[^>]*value="([^"]+)"', text)[1])
    assert float(hint[1]) < start < float(hint[2])


def test_without_any_model_the_page_says_what_to_do(warehouse_settings: Settings):
    with running(warehouse_settings) as server:
        shown = httpx.get(server.url)
        asked = httpx.post(server.url, data={"plan": "gold"})
        described = httpx.get(f"{server.url}/openapi.json")
    assert "/predict" in described.raise_for_status().json()["paths"]
    assert shown.status_code == 200
    assert "barometer run" in shown.text
    assert "<form" not in shown.text
    assert (asked.status_code, "retry-after" in asked.headers) == (503, True)
    assert "What to do" in asked.text


def test_the_examples_are_true():
    assert doctest.testmod(form).failed == 0
