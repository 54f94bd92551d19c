"""The report in a real browser: it fits a phone, loads nothing, runs no script, and is accessible."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.weekly.report import report
from pipeline.weeks import Week
from tests.browsing import Watched, needs_chromium
from tests.company import company_settings, own_database
from tests.published import publish_week

pytestmark = needs_chromium
WEEK = Week.parse("2026-01-12")
EVIL = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>"


@pytest.fixture(scope="module")
def path(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Path:
    """The report of a company with long, foreign and hostile names."""
    home = tmp_path_factory.mktemp("page") / "home"
    settings = company_settings(company, home, **own_database(server_url))
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", [f"{WEEK}.html", "index.html"])
def test_the_page_is_fit_to_read(path: Path, browser: Any, name: str, width: int, scheme: str):
    watched = Watched(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
    watched.page.goto(path.with_name(name).as_uri())
    for details in watched.page.locator("summary").all():
        details.click()
    watched.must_be_fit(path.with_name(name).as_uri())
    watched.context.close()


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


@pytest.mark.parametrize("width", [1280, 390])
def test_tables_and_drawings_have_names_and_on_a_phone_a_table_is_still_a_table(path: Path, browser: Any, width: int):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    assert page.get_by_role("img", name="Satisfaction of plain by week").count() == 1
    table = page.get_by_role("table", name="Satisfaction by product", exact=True)
    assert [table.get_by_role(role).count() for role in ("row", "rowheader", "columnheader")] == [7, 6, 7]
