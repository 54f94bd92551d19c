"""The report in a real browser: it fits a phone, loads nothing, runs no script, and is accessible."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipeline.weekly.report import report
from pipeline.weeks import Week
from tests.company import company_settings
from tests.published import publish_week

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)")
WEEK = Week.parse("2026-01-12")
EVIL = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>"

# The contrast of every text with its background, as WCAG 2 defines it.
CONTRASTS = """() => {
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n.slice(0, 3), 1] : n };
  const light = c => { const [r, g, b] = parse(c).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => { while (e && parse(getComputedStyle(e).backgroundColor)[3] === 0) e = e.parentElement;
    return getComputedStyle(e || document.body).backgroundColor };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, text = texts.currentNode.data.trim();
    if (!text || e.closest('svg')) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), text]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def path(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Path:
    """The report of a company with long, foreign and hostile names."""
    home = tmp_path_factory.mktemp("page") / "home"
    settings = company_settings(company, home, DATABASE__URL=server_url, DATABASE__PREFIX=f"t{uuid4().hex[:12]}")
    products = ["plain", "x" * 300, "ثلاجة كبيرة جدا", "超长的产品名称" * 20, EVIL]
    for step in (-2, -1, 0):
        subjects = [
            (f"c{i}" * (1 + i % 90), products[i % 5], ((i * 37 + step) % 100) / 100, json.dumps({"note": "n" * i}))
            for i in range(120)
        ]
        source = {"files": [], "new_rejects": 0, "timeless": True, "undeclared_columns": ["u" * 200]}
        plan, published = publish_week(
            settings, WEEK.plus(step), subjects, quarantined={("q", EVIL): ["r" * 300]}, sources={"s": source}
        )
    return report(settings, plan, published).report


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield launched
        launched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", [f"{WEEK}.html", "index.html"])
def test_the_page_is_fit_to_read(path: Path, browser: Any, name: str, width: int, scheme: str):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, requests, troubles = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    address = path.with_name(name).as_uri()

    page.goto(address)
    for details in page.locator("summary").all():
        details.click()

    assert [url for url in requests if not url.startswith("data:")] == [address], "one file, and nothing else"
    assert troubles == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast, text = page.evaluate(CONTRASTS)
    assert contrast >= 4.5, text
    context.close()


def test_no_script_runs_and_nothing_is_fetched_even_if_a_tag_slipped_through(path: Path, browser: Any):
    slipped = path.with_name("slipped.html")
    tags = "<script>document.title = 'ran'</script><img src='http://127.0.0.1:9/x'><p onclick='1'>"
    slipped.write_text(path.read_text().replace("</body>", f"{tags}</body>"))
    page, fetched = browser.new_page(), []
    page.on("requestfinished", lambda request: fetched.append(request.url))
    page.on("requestfailed", lambda request: fetched.append(f"{request.url} {request.failure}"))

    page.goto(slipped.as_uri())

    assert page.title() != "ran"
    assert [url for url in fetched if url.startswith("http") and "csp" not in url.lower()] == []


def test_the_page_is_well_formed_for_a_screen_reader(path: Path, browser: Any):
    page = browser.new_page()
    page.goto(path.as_uri())

    levels = page.eval_on_selector_all("h1, h2, h3", "found => found.map(e => Number(e.tagName[1]))")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no level is skipped"
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("main").count() == 1
    ids = page.eval_on_selector_all("[id]", "found => found.map(e => e.id)")
    assert len(ids) == len(set(ids))
    anchors = page.eval_on_selector_all('a[href^="#"]', "found => found.map(e => e.hash.slice(1))")
    assert set(anchors) <= set(ids)
    assert page.get_by_role("table", name="Satisfaction by product", exact=True).get_by_role("row").count() == 7
    assert page.get_by_role("img", name="Satisfaction of plain by week").count() == 1


def test_on_a_phone_a_table_is_still_a_table(path: Path, browser: Any):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(path.as_uri())

    table = page.get_by_role("table", name="Satisfaction by product", exact=True)

    assert table.get_by_role("row").count() == 7
    assert table.get_by_role("rowheader").count() == 6
    assert table.get_by_role("columnheader").count() == 7
