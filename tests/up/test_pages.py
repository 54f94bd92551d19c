"""The pages: the site's files, to this machine only."""

import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from pipeline.settings import Settings
from pipeline.up.pages import app


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    folder = settings.site / "reports"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("all reports")
    (settings.home / "credentials.json").write_text("secret")
    server = uvicorn.Server(uvicorn.Config(app(settings), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as client:
        yield client
    server.should_exit = True
    thread.join()


def test_the_root_leads_to_the_reports(client):
    assert client.get("/").text == "all reports"
    assert client.get("/health").text == "ok"


def test_nothing_outside_the_site_is_served(client):
    for path in ("/../credentials.json", "/%2e%2e/credentials.json", "/reports/../../credentials.json"):
        assert client.get(path).status_code == 404


def test_a_foreign_name_for_this_machine_is_refused(client):
    assert client.get("/reports/", headers={"Host": "evil.example"}).status_code == 400
