"""The landing zone: which files a week has, and that each is whole."""

import gzip
import os
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import pytest

from pipeline.errors import SourceError
from pipeline.settings import Settings
from pipeline.sources import landing
from pipeline.sources.landing import fetched, locate
from tests.feeds import WEEK, bad, feed_settings, good, read

CONTENT = "id,amount\na,1\n"


def weekly(folder: Path, present: list[int], pattern: str = "feed-{week}.csv") -> Settings:
    """Return the settings of a feed with four weeks of lookback; `present` are weeks relative to the run's."""
    settings = feed_settings(folder, declared=f'path = "{pattern}"\nlookback_weeks = 4')
    for offset in present:
        (folder / f"landing/feed-{WEEK.plus(offset)}.csv").write_text(CONTENT)
    return settings


def names(settings: Settings) -> list[str]:
    return [Path(located.path).name for located in locate(settings, "feed", WEEK)]


def test_a_week_has_its_own_file_and_those_before(tmp_path: Path) -> None:
    settings = weekly(tmp_path, [-5, -4, -3, -2, -1, 0, 1])
    assert names(settings) == [f"feed-{WEEK.plus(offset)}.csv" for offset in (-3, -2, -1, 0)]


def test_a_young_history_is_shorter(tmp_path: Path) -> None:
    assert names(weekly(tmp_path, [-1, 0])) == [f"feed-{WEEK.plus(-1)}.csv", f"feed-{WEEK}.csv"]


def test_a_gap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"feed-{WEEK.plus(-2)}\.csv of the week {WEEK.plus(-2)} is missing"):
        names(weekly(tmp_path, [-3, -1, 0]))


def test_the_weeks_own_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        names(weekly(tmp_path, [-1]))
    assert caught.value.found == (
        f"Source feed: there is no file feed-{WEEK}.csv in the landing zone {tmp_path}/landing for the week {WEEK}."
    )


def test_wildcards_are_sorted(tmp_path: Path) -> None:
    settings = weekly(tmp_path, [], pattern="{week}/part-*.csv")
    (tmp_path / f"landing/{WEEK}/part-9.csv").mkdir(parents=True)  # a folder is not a file
    for part in (2, 0, 1):
        (tmp_path / f"landing/{WEEK}/part-{part}.csv").write_text(CONTENT)
    assert names(settings) == ["part-0.csv", "part-1.csv", "part-2.csv"]


@pytest.mark.parametrize("path", ["../secret.csv", "a/../../secret.csv", "/etc/passwd"])
def test_a_path_out_of_the_landing_zone_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.csv").write_text(CONTENT)
    with pytest.raises(SourceError, match="leads out of the landing zone"):
        read(feed_settings(tmp_path, declared=f'path = "{path}"\nformat = "csv"'))


def test_a_link_out_of_the_landing_zone_is_refused(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path)
    (tmp_path / "secret.csv").write_text(CONTENT)
    (tmp_path / "landing/feed.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(SourceError, match=r"landing/feed\.csv is a link that leads out of the landing zone"):
        read(settings)


def test_links_that_stay_within_are_followed(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, CONTENT, name="feed-1.csv", declared='path = "feed.csv"')
    (tmp_path / "landing").rename(tmp_path / "mounted")
    (tmp_path / "landing").symlink_to("mounted")  # the landing zone itself may be a link
    (tmp_path / "landing/feed.csv").symlink_to("feed-1.csv")
    assert good(settings) == [(2, "a", 1.0)]


@pytest.mark.parametrize("name", ["feed.csv", "feed.xlsx", "feed"])
def test_an_absent_file_or_unknown_format(tmp_path: Path, name: str) -> None:
    settings = feed_settings(tmp_path, None if name == "feed.csv" else CONTENT, name=name)
    with pytest.raises(
        SourceError, match="there is no file feed.csv" if name == "feed.csv" else "does not say its form"
    ):
        read(settings)


def test_the_declared_format_wins(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, CONTENT, name="feed.txt", declared='format = "csv"')
    assert good(settings) == [(2, "a", 1.0)]


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    settings = feed_settings(tmp_path, CONTENT)
    monkeypatch.setattr(Path, "is_file", denied)  # root may read every file
    with pytest.raises(SourceError, match="cannot be looked up: Permission denied"):
        read(settings)


def test_a_file_that_is_still_being_written_is_refused(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, CONTENT)
    [located] = locate(settings, "feed", WEEK)
    with pytest.raises(SourceError, match="changed while it was read"), fetched(settings, located) as file:
        file.path.write_text(CONTENT + "b,2\n")


def test_a_file_that_vanishes_is_refused(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, CONTENT)
    [located] = locate(settings, "feed", WEEK)
    with pytest.raises(SourceError, match="cannot be read: No such file"), fetched(settings, located) as file:
        file.path.unlink()


def test_the_digest_is_of_the_bytes_and_not_of_the_name(tmp_path: Path) -> None:
    content = gzip.compress(CONTENT.encode())
    settings = feed_settings(tmp_path, content, name="feed.csv.gz")
    [located] = locate(settings, "feed", WEEK)
    with fetched(settings, located) as file:
        assert (file.size_bytes, file.digest) == (len(content), sha256(content).hexdigest())


def test_a_changed_file_has_another_digest_in_the_same_process(tmp_path: Path) -> None:
    settings = feed_settings(tmp_path, CONTENT)
    before = read(settings).files[0]
    path = tmp_path / "landing/feed.csv"
    path.write_text(CONTENT.replace("1", "2"))
    os.utime(path, ns=(1, 1))  # in case the clock is too coarse to separate them
    assert read(settings).files[0].digest != before.digest


def test_a_digest_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = feed_settings(tmp_path, CONTENT)
    read(settings)
    monkeypatch.setattr(landing, "sha256_of_file", lambda path: pytest.fail(f"{path} is read again"))
    read(settings)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Yield the URL of the folder `tmp_path/remote`."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "remote").mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "remote")))
    thread = Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.mark.parametrize("compressed", [False, True])
def test_http(tmp_path: Path, server: str, compressed: bool) -> None:
    name = "feed.csv.gz" if compressed else "feed.csv"
    content = gzip.compress(CONTENT.encode()) if compressed else CONTENT.encode()
    (tmp_path / "remote" / name).write_bytes(content)
    settings = feed_settings(tmp_path, declared=f'path = "{server}/{name}?signed=x"')
    assert good(settings) == [(2, "a", 1.0)]
    assert read(settings).files[0].digest == sha256(content).hexdigest()
    assert list((settings.home / "tmp").iterdir()) == []


def test_an_absent_address(tmp_path: Path, server: str) -> None:
    with pytest.raises(SourceError, match=r"there is no file http://.*/feed\.csv for the week"):
        read(feed_settings(tmp_path, declared=f'path = "{server}/feed.csv"'))


def test_memory_and_wildcards(tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("memory")
    for part in ("b", "a"):
        filesystem.pipe(f"/{tmp_path.name}/{part}.csv", f"id,amount\n{part},1\nx\n".encode())
    settings = feed_settings(tmp_path, declared=f'path = "memory://{tmp_path.name}/*.csv"')
    assert good(settings) == [(2, "a", 1.0), (2, "b", 1.0)]
    assert len(bad(settings)) == 2


def test_file_uri(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text(CONTENT)
    assert good(feed_settings(tmp_path, declared=f'path = "file://{tmp_path}/elsewhere.csv"')) == [(2, "a", 1.0)]


def test_an_unknown_protocol(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        read(feed_settings(tmp_path, declared='path = "nowhere://x/feed.csv"'))


def test_a_remote_file_that_cannot_be_copied_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe(f"/{tmp_path.name}/feed.csv", CONTENT.encode())
    settings = feed_settings(tmp_path, declared=f'path = "memory://{tmp_path.name}/feed.csv"')

    def broken(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(filesystem, "open", broken)
    with pytest.raises(SourceError, match="cannot be read: Connection reset by peer"):
        read(settings)


def test_a_file_that_may_not_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = feed_settings(tmp_path, CONTENT)

    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(landing, "sha256_of_file", denied)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        read(settings)
