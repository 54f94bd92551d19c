"""Data Docs: whole pages that fetch nothing, one folder for each run."""

import re

import pytest

from pipeline.settings import Settings
from pipeline.validation.data_docs import run_page, write_pages

ROW = {
    "suite": "sources/events",
    "type": "expect_something",
    "severity": "critical",
    "status": "failed",
    "observed": "3 of 4 rows fail, for example <script>alert(1)</script>",
    "expected": "expect_something()",
}


@pytest.fixture
def pages(settings: Settings) -> dict[str, str]:
    write_pages(settings, "2026-03-02.1", [ROW, {**ROW, "suite": "no page"}], {"sources/events": "<h5>sections</h5>"})
    folder = (settings.site / run_page("2026-03-02.1")).parent
    return {page.name: page.read_text() for page in folder.iterdir()}


def test_a_run_has_a_page_and_one_for_each_suite(pages: dict[str, str]) -> None:
    assert set(pages) == {"index.html", "sources-events.html"}
    assert 'href="sources-events.html"' in pages["index.html"]
    assert 'href="no page' not in pages["index.html"]
    assert "<h5>sections</h5>" in pages["sources-events.html"]


def test_text_of_the_data_is_no_markup(pages: dict[str, str]) -> None:
    assert "<script" not in pages["index.html"]
    assert "&lt;script&gt;" in pages["index.html"]


def test_the_pages_load_nothing_and_run_nothing(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "default-src 'none'" in page
        assert not re.search(r"""(src|href)=["'](https?:)?//""", page)


def test_runs_do_not_share_files(settings: Settings, pages: dict[str, str]) -> None:
    write_pages(settings, "2026-03-02.2", [], {})
    assert "3 of 4 rows fail" in (settings.site / run_page("2026-03-02.1")).read_text()
