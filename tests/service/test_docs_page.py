"""The API's description for people: every route of the OpenAPI document, readable everywhere, with lines that work."""

import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browsing import Watched, needs_chromium
from tests.service.server import Server


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (320, "light")])
def test_it_is_fit_to_read(server: Server, browser: Any, width: int, scheme: str, tmp_path: Path):
    watched = Watched(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
    watched.page.goto(f"{server.url}/docs")
    for summary in watched.page.locator("summary").all():
        summary.click()
    watched.must_be_fit(server.url, tmp_path / "docs.png")
    watched.context.close()


@pytest.mark.parametrize("contract", ["barometer", "sagemaker", "vertex", "azure"])
def test_every_operation_is_there(serve: Callable[..., Server], server: Server, contract: str):
    url = server.url if contract == "barometer" else serve(contract=contract).url
    page, document = httpx.get(f"{url}/docs").text, httpx.get(f"{url}/openapi.json").json()
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert len(found) > 4
    for method, path in found:
        assert f'<span class="method">{method}</span> {path}</code>' in page
    for operation in (one for methods in document["paths"].values() for one in methods.values()):
        assert operation["summary"].split("`")[0].strip() in unescape(page)


def test_a_line_of_it_can_be_pasted_into_a_shell(server: Server):
    lines = [
        unescape(line) for line in httpx.get(f"{server.url}/docs").text.split("<code>") if line.startswith("curl ")
    ]
    (predict,) = (line.partition("</code>")[0] for line in lines if "/predict' " in line)
    done = subprocess.run(["sh", "-c", f"{predict} --silent --fail"], capture_output=True, text=True, check=True)
    assert "satisfaction" in done.stdout


def test_where_keys_are_required_it_says_how_to_give_one(serve: Callable[..., Server], server: Server):
    page = httpx.get(f"{serve(auth='keys').url}/docs").text
    assert "Authorization: Bearer KEY" in page
    assert "Bearer $KEY" in page
    assert "Bearer $KEY" not in httpx.get(f"{server.url}/docs").text
