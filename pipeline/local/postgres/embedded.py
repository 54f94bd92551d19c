"""The embedded PostgreSQL server of one home: started on demand, shared by processes, stopped by the last of them.

It serves the warehouse, Airflow's metadata and MLflow's registry over TCP on 127.0.0.1, with a password. A process that
uses it holds a shared lock on `postgres/users.lock`, which the kernel releases if the process is killed. The server is
started and stopped under an exclusive lock on `postgres/start.lock`. The entry points are `attach`, `detach` and
`remove`.
"""

import atexit
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.errors import ServerError
from pipeline.local.credentials import credentials
from pipeline.local.postgres.cluster import SUPERUSER, Cluster
from pipeline.local.postgres.postgres_programs import Programs


@dataclass(frozen=True)
class Server:
    """A running embedded server."""

    password: str = field(repr=False)
    port: int
    postmaster: psutil.Process | None = field(repr=False, compare=False)
    """Its main process."""

    @property
    def url(self) -> str:
        """URL of the superuser, without a database."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}"


_held: set[int] = set()
"""Descriptors of the locks that this process has open."""
_attached: dict[Path, tuple[Server, int]] = {}
_attaching = threading.Lock()
_leaving = threading.Lock()
"""Held by a thread that detaches."""


def attach(home: Path, *, run_as: str = "nobody", port: int = 0) -> Server:
    """Return the running server of `home` and use it until `detach`, or until this process ends.

    Its cluster is in the folder `postgres` of the home. `run_as` is its user if this process is root. Port 0 chooses a
    free port and keeps it. Further calls are cheap. They start a server that was killed in between, or find the one
    that another process has started since, perhaps on another port.

    Raises
    ------
    ServerError
        If it cannot run as configured.
    DatabaseUnavailableError
        If it does not answer in time.
    """
    cluster = _cluster(home, run_as)
    with _attaching:
        if cluster.folder in _attached:
            known, current = _attached[cluster.folder][0], cluster.postmaster()
            if current is not None and current == known.postmaster:
                return known
        server, lock = _enter(cluster, port)
        if cluster.folder in _attached:
            _close(_attached[cluster.folder][1])
        else:
            atexit.register(_detach, cluster)
        _attached[cluster.folder] = server, lock
        return server


def detach(home: Path, *, run_as: str = "nobody") -> None:
    """Leave the server of `home` if this process is attached to it, and stop it unless other processes use it.

    This also happens when the process exits.
    """
    _detach(_cluster(home, run_as))


def remove(home: Path, *, run_as: str = "nobody") -> None:
    """Stop the server of `home`, detach from it and delete its cluster; do nothing if there is none.

    Raises
    ------
    ServerError
        If another process uses it, or it belongs to another user.
    """
    cluster = _cluster(home, run_as)
    if not cluster.folder.exists():
        return
    with _rewording_permission_errors(cluster), exclusive_lock(cluster.folder / "start.lock"):
        cluster.check_owner()
        if cluster.folder in _attached:
            _close(_attached.pop(cluster.folder)[1])
        if _is_used(cluster):
            raise ServerError(
                f"The server of {home} is in use by another process.",
                "no other process that uses it.",
                "run make down, end other processes that use it, then try again.",
            )
        cluster.remove()


def _cluster(home: Path, run_as: str) -> Cluster:
    return Cluster(home.absolute() / "postgres", Programs(run_as))


def _enter(cluster: Cluster, port: int) -> tuple[Server, int]:
    with _rewording_permission_errors(cluster):
        cluster.check_owner()
        cluster.folder.mkdir(parents=True, exist_ok=True)
        password = credentials(cluster.folder.parent).postgres_password
        with exclusive_lock(cluster.folder / "start.lock"):
            lock = _open(cluster.folder / "users.lock")
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                server = Server(password, cluster.ensure(password, port), cluster.postmaster())
            except BaseException:
                _close(lock)
                if not _is_used(cluster):
                    cluster.stop()
                raise
    return server, lock


def _leave(cluster: Cluster, server: Server, lock: int) -> None:
    if lock not in _held:  # this is a forked child, and the lock is its parent's
        return
    if not cluster.folder.exists():  # the home was deleted, which PostgreSQL cannot notice if its data is outside
        _close(lock)
        if server.postmaster is not None:
            with suppress(psutil.Error):
                server.postmaster.send_signal(signal.SIGQUIT)
        return
    with exclusive_lock(cluster.folder / "start.lock"):
        _close(lock)
        if not _is_used(cluster):
            cluster.stop()


def _detach(cluster: Cluster) -> None:
    with _leaving:
        if cluster.folder in _attached:
            _leave(cluster, *_attached.pop(cluster.folder))


def _is_used(cluster: Cluster) -> bool:
    """Return whether any process uses the server. The caller holds the start lock, so none can join meanwhile."""
    lock = _open(cluster.folder / "users.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        _close(lock)
    return False


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file while the block runs; wait for it first."""
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        _close(lock)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _held.add(descriptor)
    return descriptor


def _close(descriptor: int) -> None:
    """Release and close a lock. Closing alone is not enough: a child forked at this moment still has it open."""
    _held.discard(descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _forget() -> None:
    """In a forked child, close the parent's locks without releasing them; the child attaches by itself."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()
    _attached.clear()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def _rewording_permission_errors(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ServerError(
            f"{error.filename} of the embedded server cannot be used: {error.strerror}.",
            f"a home ({cluster.folder.parent}) whose files belong to the user who runs Barometer.",
            "run Barometer as the user who made that home, or name another in BAROMETER_HOME.",
        ) from None
