"""One PostgreSQL data folder on this machine: how to create it, start its server, find it after a crash, and stop it.

`pipeline.local.postgres.embedded` decides when, and holds the start lock meanwhile. The entry point is `Cluster`.
"""

import pwd
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from pipeline.errors import DatabaseUnavailableError, ServerError
from pipeline.files import write_text
from pipeline.local.postgres.postgres_programs import LOG, OUTSIDE, Programs, make_passable

SUPERUSER = "barometer"
PATIENCE_SECONDS = 120
ENDING_SECONDS = 10
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # socket paths are limited to 107 bytes; TCP has no such limit
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",  # a table loaded in the transaction that creates it is synced instead of logged
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "lc_messages": "C",
}


@dataclass(frozen=True)
class Cluster:
    """The cluster of `folder`, with its data in `folder/data`, which is a symbolic link if the data is in `OUTSIDE`."""

    folder: Path
    programs: Programs

    @property
    def data(self) -> Path:
        """The data folder or the link to it."""
        return self.folder / "data"

    def check_owner(self) -> None:
        """Refuse a data folder that does not belong to the user that runs the server; change nothing."""
        if not self.data.exists():
            return
        uid = self.data.stat().st_uid
        if uid != self.programs.uid:
            owner, user = _user_name(uid), _user_name(self.programs.uid)
            raise ServerError(
                f"{self.data} belongs to {owner}, and the server would run as {user}.",
                "the user who made it.",
                f"run Barometer as that user (as root: with database.run_as = {owner}), or name another home.",
            )

    def ensure(self, password: str, port: int) -> int:
        """Create the cluster if needed, start the server if needed, and return its port."""
        if not (self.data / "PG_VERSION").exists():
            self._make(password)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            if self.postmaster() is None:
                self._end_orphans()
                self._start(port)
            try:
                listening = int(self._pid_file()[3])
                url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{listening}/postgres"
                psycopg.connect(url, connect_timeout=10).close()
            except (psycopg.OperationalError, IndexError, ValueError) as error:
                self._check_patience(error, deadline)
                time.sleep(0.05)  # it is starting, recovering or stopping; there is no event to wait for
            else:
                return listening

    def stop(self, modes: Sequence[str] = ("fast", "immediate")) -> None:
        """Stop the server if it runs, by the first of pg_ctl's modes that succeeds; its clients are disconnected."""
        if self.postmaster() is None:
            return
        running = self.processes()
        for mode in modes:
            stopped = self.programs.run("pg_ctl", "-D", ".", "-s", "-w", "-t", "60", "-m", mode, "stop", cwd=self.data)
            if stopped.returncode == 0 and not self._wait_for_end(running):
                return
        raise ServerError(
            f"The server of {self.folder} does not stop: {stopped.stderr.strip()}",
            "a stop within two minutes.",
            f"end process {self._pid_file()[0]} and look into {self.data / LOG}.",
        )

    def remove(self) -> None:
        """Stop the server and delete the cluster, without a last checkpoint, which can take a minute."""
        self.stop(["immediate"])
        if self.data.is_symlink():
            shutil.rmtree(self.data.readlink().parent, ignore_errors=True)
            self.data.unlink()
        elif self.data.exists():
            shutil.rmtree(self.data)

    def postmaster(self) -> psutil.Process | None:
        """Return the server's main process; None if it does not run.

        The pid file is not enough: after a crash it may contain the pid of an unrelated process.
        """
        try:
            process = psutil.Process(int(self._pid_file()[0]))
            return process if self._is_ours(process) else None
        except (psutil.Error, IndexError, ValueError):
            return None

    def processes(self) -> list[psutil.Process]:
        """Return the server's running processes, also those that a killed postmaster has left behind."""
        return list(filter(self._is_ours, psutil.process_iter()))

    @property
    def _name(self) -> str:
        """A name for this cluster in its processes' command lines; it survives a move of the folder."""
        status = self.data.stat()
        return f"barometer-{status.st_dev:x}-{status.st_ino:x}"

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.uids().real == self.programs.uid and self._name in " ".join(process.cmdline())
        except psutil.Error:
            return False

    def _wait_for_end(self, processes: list[psutil.Process]) -> list[psutil.Process]:
        """Wait until the processes have ended or are zombies, within a time limit; return those that have not."""
        deadline = time.monotonic() + ENDING_SECONDS
        while (processes := list(filter(self._is_ours, processes))) and time.monotonic() < deadline:
            time.sleep(0.01)
        return processes

    def _make(self, password: str) -> None:
        """Run `initdb` beside the final place and rename, so that a cluster is complete or absent."""
        place = self._place()
        for leftover in place.parent.glob("initdb-*"):
            shutil.rmtree(leftover)
        fresh = place.parent / f"initdb-{secrets.token_hex(8)}"
        data, password_file = fresh / "data", fresh / "password"
        data.mkdir(parents=True, mode=0o700)
        fresh.chmod(0o711)
        password_file.touch(mode=0o600)
        password_file.write_text(password, encoding="utf-8")
        self.programs.own(data, password_file)
        options = ["-A", "scram-sha-256", "-U", SUPERUSER, "--pwfile=../password"]
        locale = ["-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        made = self.programs.run("initdb", "-D", ".", *options, *locale, cwd=data)
        password_file.unlink()
        if made.returncode != 0:
            raise ServerError(
                f"initdb failed in {place.parent}: {made.stderr.strip()}",
                "a new PostgreSQL cluster.",
                "correct what it names (space, permissions), or name an outside server in database.url.",
            )
        data.rename(place)
        fresh.rmdir()

    def _place(self) -> Path:
        """Return the place of the data; the link to a place in `OUTSIDE` is made before anything is there."""
        if not self.data.is_symlink():
            if self.programs.can_reach(self.folder):
                return self.data
            self.data.symlink_to(OUTSIDE / secrets.token_hex(8) / "data")
        place = self.data.readlink()
        make_passable(place.parent)
        return place

    def _end_orphans(self) -> None:
        """Wait for processes left by a killed server, kill those that do not end, then remove the pid file.

        PostgreSQL refuses to start while the pid in that file is alive, even if it is an unrelated process.
        """
        while orphans := self._wait_for_end(self.processes()):
            for process in orphans:
                process.kill()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _start(self, wanted: int) -> None:
        if not self.programs.can_reach(self.data.resolve()):
            raise ServerError(
                f"The user {self.programs.run_as} can no longer reach {self.data.resolve()}.",
                "a path whose folders that user may enter.",
                "move the home back, or run make clean for a new one.",
            )
        remembered = self.folder / "port"
        for _ in range(3):
            port = _free_port(wanted, remembered)
            (self.data / LOG).unlink(missing_ok=True)
            settings = {**SETTINGS, "cluster_name": self._name, "port": str(port)}
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            arguments = ["-D", ".", "-s", "-w", "-t", str(PATIENCE_SECONDS), "-l", LOG, "-o", options, "start"]
            started = self.programs.run("pg_ctl", *arguments, cwd=self.data)
            if started.returncode == 0 or self.postmaster() is not None:  # it runs, but its recovery takes longer
                write_text(remembered, str(port))
                return
            if _is_free(port):
                break
        raise ServerError(
            f"The embedded server of {self.folder} does not start: {started.stderr.strip()}",
            "a running PostgreSQL.",
            "correct what the log names, or name an outside server in database.url.",
        )

    def _check_patience(self, error: Exception, deadline: float) -> None:
        """Return if waiting may help; raise otherwise."""
        if "password authentication failed" in str(error):
            raise ServerError(
                f"The server of {self.folder} does not accept the password of {self.folder.parent}.",
                "the credentials.json that the cluster was made with.",
                "restore that file, or run make clean and start again.",
            ) from None
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError(
                f"The embedded server of {self.folder} runs but does not answer: {error}",
                f"an answer within {PATIENCE_SECONDS} seconds.",
                f"look into {self.data / LOG}, then try again.",
            ) from None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _free_port(wanted: int, remembered: Path) -> int:
    """Return the wanted port, else the remembered one if it is free, else any free one."""
    if wanted:
        if not _is_free(wanted):
            raise ServerError(
                f"Port {wanted} of 127.0.0.1 is used by another program.",
                "a free port in database.port.",
                "end that program, or set database.port to another port or to 0 (any free one).",
            )
        return wanted
    if remembered.exists() and _is_free(port := int(remembered.read_text(encoding="utf-8"))):
        return port
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
