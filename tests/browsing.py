"""A real browser for tests of pages: what it asked for and complained of, and how readable a page is."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)")

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
# The contrast of text in a drawing with the page's own background.
DRAWN = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parse(c).slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
  const b = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('svg text')].map(e => { const a = light(getComputedStyle(e).fill);
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) });
}"""
# Drawn labels that leave the page, and pairs of them that lie over each other.
MISPLACED = """() => {
  const found = [...document.querySelectorAll('svg text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  const out = found.filter(([, r]) => r.left < 0 || r.right > innerWidth).map(([t]) => t);
  for (const [t, r] of found) for (const [u, s] of found)
    if (t < u && r.left < s.right && s.left < r.right && r.top < s.bottom && s.top < r.bottom) out.push([t, u]);
  return out;
}"""
# Controls without a name, and descriptions that are nowhere.
UNNAMED = """() => [...document.querySelectorAll('input:not([type=hidden]), select, button')].filter(e =>
  !(e.labels && e.labels.length === 1 && e.labels[0].innerText.trim()) && !e.innerText.trim()
  || (e.getAttribute('aria-describedby') || '').split(' ').filter(Boolean).some(id => !document.getElementById(id)))
  .map(e => e.outerHTML)"""


@contextmanager
def launched() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


class Watched:
    """A page, and what it asked for and complained of."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.troubles: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        # Chromium also reports here that a page has the status 422, which is right.
        self.page.on("console", lambda m: None if "status of 4" in m.text else self.troubles.append(m.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.troubles.append(dialog.message), dialog.dismiss()))

    def must_be_fit(self, url: str, picture: Path | None = None) -> None:
        """Check that what is shown can be read by everybody and came from here; take a picture of it."""
        page = self.page
        page.screenshot(path=picture, full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        contrast, words = page.evaluate(CONTRASTS)
        assert contrast >= 4.5, words
        assert all(found >= 4.5 for found in page.evaluate(DRAWN))
        assert page.evaluate(MISPLACED) == []
        assert page.evaluate(UNNAMED) == []
        ids = page.eval_on_selector_all("[id]", "found => found.map(e => e.id)")
        assert len(ids) == len(set(ids))
        anchors = page.eval_on_selector_all('a[href^="#"]', "found => found.map(e => e.hash.slice(1))")
        assert set(anchors) <= set(ids)
        levels = page.eval_on_selector_all("h1, h2, h3", "found => found.map(e => Number(e.tagName[1]))")
        assert levels.count(1) == 1
        assert page.evaluate("document.documentElement.lang") == "en"
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert page.locator("main").count() == 1
        assert [asked for asked in self.requests if not asked.startswith((url, "data:"))] == []
        assert self.troubles == []


def focused(page: Any) -> str:
    """The id of what has the focus."""
    return str(page.evaluate("document.activeElement.id"))


def tab_to(page: Any, element_id: str) -> None:
    """Walk there by the keyboard, as somebody without a mouse."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page) == element_id:
            return
    raise AssertionError(f"the keyboard does not lead to {element_id}")
