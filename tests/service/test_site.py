"""The site: its pages, to those who may read them, and nothing that lies elsewhere."""

import http.client
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from pipeline.service.access import key_file
from pipeline.settings import Settings
from tests.company import company_settings
from tests.service.server import Server, running

SECRET = "a secret of the home"


@pytest.fixture(scope="module")
def settings(company: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with a site, and secrets beside it."""
    home = tmp_path_factory.mktemp("site") / "a home"
    settings = company_settings(company, home, SERVICE__MODEL_FOLDER=str(model_folder))
    for path, content in {
        "reports/index.html": "all reports",
        "reports/2026-11-09.html": "<p>a report",
        "reports/2026-11-09.json": "{}",
        "data_docs/2026-11-09.1/index.html": "data docs",
        "data_docs/ünï 1?/index.html": "an odd name",
        "training/index.html": "trainings",
        "training/.hidden": SECRET,
        "elsewhere/index.html": SECRET,
        "secret.html": SECRET,
    }.items():
        (settings.site / path).parent.mkdir(parents=True, exist_ok=True)
        (settings.site / path).write_text(content)
    (home / "credentials.json").write_text(SECRET)
    reports = settings.site / "reports"
    (reports / "out.html").symlink_to(home / "credentials.json")
    (reports / "out").symlink_to(home)
    (reports / "across").symlink_to(settings.site / "elsewhere")
    (reports / "circle").symlink_to(reports / "circle")
    (reports / "latest.html").symlink_to(reports / "2026-11-09.html")
    os.mkfifo(reports / "pipe")
    return settings


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[Server]:
    with running(settings) as started:
        yield started


def test_a_folder_shows_its_index(server: Server):
    with httpx.Client(base_url=server.url, follow_redirects=True) as client:
        for path, content in {
            "/reports": "all reports",
            "/reports/": "all reports",
            "/reports/latest.html": "<p>a report",
            "/training/": "trainings",
            "/data_docs/2026-11-09.1": "data docs",
            "/data_docs/%C3%BCn%C3%AF%201%3F": "an odd name",
        }.items():
            answer = client.get(path)
            assert (answer.status_code, answer.text) == (200, content)
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert str(client.get("/data_docs/2026-11-09.1").url).endswith("/2026-11-09.1/"), "its links are relative"
        assert client.get("/reports/2026-11-09.json").headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../../credentials.json",
        "/reports/%2e%2e/%2e%2e/credentials.json",
        "/reports/..%2f..%2fcredentials.json",
        "/reports/2026-11-09.html/../../../credentials.json",
        "/reports/....//....//credentials.json",
        "/reports/..%5c..%5ccredentials.json",
        "/reports//etc/passwd",
        "/reports/%2fetc/passwd",
        "/reports/%00",
        "/reports/2026-11-09.html%00.json",
        "/reports/" + "x" * 5000,
        "/reports/%ff%fe",
        "/reports/out.html",
        "/reports/out/credentials.json",
        "/reports/across/index.html",
        "/reports/across",
        "/reports/circle",
        "/reports/pipe",
        "/reports/2026-11-09.html/",
        "/training/.hidden",
        "/data_docs/",
        "/elsewhere/index.html",
        "/secret.html",
        "/credentials.json",
        "/../credentials.json",
    ],
)
def test_nothing_else_is_served(server: Server, path: str):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", path)  # sends the path as it is
        answer = connection.getresponse()
        body = answer.read().decode()
    assert answer.status in {400, 404}
    assert SECRET not in body
    assert "root:" not in body
    assert path.rpartition("/")[2][:20] not in body or not path.rpartition("/")[2]


def test_a_browser_asks_whether_its_copy_is_still_the_same(server: Server, settings: Settings):
    url, file = f"{server.url}/reports/2026-11-09.html", settings.site / "reports/2026-11-09.html"
    first = httpx.get(url)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    for known in ({"if-none-match": tag}, {"if-none-match": f'"other", W/{tag}'}):
        again = httpx.get(url, headers=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    dated = {"if-modified-since": first.headers["last-modified"]}
    assert httpx.get(url, headers=dated).status_code == 304
    assert httpx.get(url, headers={**dated, "if-none-match": '"other"'}).status_code == 200, "the tag counts first"
    before = file.stat()
    file.write_text("<p>a repeal")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    anew = httpx.get(url, headers={"if-none-match": tag})
    assert (anew.status_code, anew.text) == (200, "<p>a repeal")


def test_a_page_can_load_and_run_nothing(server: Server):
    answer = httpx.get(f"{server.url}/reports/2026-11-09.html")
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get_list("cache-control") == ["private, no-cache"]


def test_a_foreign_name_for_this_machine_is_refused(server: Server):
    for path in ("/", "/reports/", "/docs"):
        refused = httpx.get(f"{server.url}{path}", headers={"Host": "evil.example"})
        assert refused.status_code == 421
        assert "all reports" not in refused.text


def test_where_keys_are_required_a_report_needs_one(settings: Settings):
    keyed = settings.model_copy(update={"service": settings.service.model_copy(update={"auth": "keys"})})
    keys = keyed.path(keyed.service.keys_file)
    _, may_predict = key_file.create(keys, "reader", ["predict"])
    _, may_upload = key_file.create(keys, "uploader", ["batch"])
    with running(keyed) as server:
        for path in ("/", "/reports/", "/data_docs/2026-11-09.1/", "/training/"):
            refused = httpx.get(f"{server.url}{path}")
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic"), "so that a browser asks for it"
            assert refused.headers["content-type"].startswith("text/html")
            assert httpx.get(f"{server.url}{path}", auth=("", may_upload)).status_code == 403
            assert httpx.get(f"{server.url}{path}", auth=("anyone", may_predict)).status_code == 200


def test_a_site_that_is_not_there_yet_has_no_pages(company: Path, model_folder: Path, tmp_path: Path):
    with running(company_settings(company, tmp_path / "new", SERVICE__MODEL_FOLDER=str(model_folder))) as server:
        refused = httpx.get(f"{server.url}/reports/")
    assert refused.status_code == 404
    assert "What to do" in refused.text
