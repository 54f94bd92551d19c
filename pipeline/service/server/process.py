"""Running the service: one uvicorn process that ends in order when it is told to.

The entry point is `serve`.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import uvicorn

from pipeline.errors import ServerError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.service.app import Application

NOT_FOR_SERVING = ("airflow", "great_expectations", "mlflow", "pandas", "rich", "sklearn")
"""pyarrow, for one, imports pandas wherever it is installed, half a second and 50 MiB for nothing; httpx, rich."""
DRAIN_SECONDS = 1.0
"""After SIGTERM so long every answer closes its connection, before the ones that are idle are closed."""
FINISH_SECONDS = 18
"""Then requests that are still being answered have so long; SageMaker kills 30 s after SIGTERM."""
LAST_SECONDS = 10.0
"""Then the record is written and the threads beside end; whatever still goes on after that is cut off."""
THREADS_SECONDS = 1.0
"""When all is written, so long for threads that still wait for something, a silent database for one."""

Ready = Callable[[str, Mapping[str, Any]], None]
"""Is told the address that is listened on, and the readiness (`Current.readiness`)."""


def serve(settings: Settings, ready: Ready = lambda _address, _readiness: None) -> None:
    """Serve until the process is told to stop.

    Parameters
    ----------
    settings
        The settings.
    ready
        Told, once it listens.

    Raises
    ------
    ConfigError
        If the settings contradict each other.
    ServerError
        If the address cannot be listened on.
    """
    sys.meta_path.insert(0, _NotForServing())
    from pipeline.service.app import Application
    from pipeline.service.observe.logs import set_up

    set_up()
    application = Application(settings)
    host, port = settings.service.host, settings.service.port
    listeners = listening(host, port)
    application.start()
    gc.collect()
    gc.freeze()  # what is there now stays; to look through it again and again costs a twentieth of an answer's time
    _Server(configured(application.asgi, host, port), application, ready).run(listeners)


def listening(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on the port of all addresses that the host has; who connects waits to be answered.

    Raises
    ------
    ServerError
        If that cannot be: the port is taken, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
        return [socket.create_server(address, family=family) for family, address in addresses]
    except (OSError, UnicodeError) as error:  # the latter for a name that can be none
        reason = getattr(error, "strerror", None) or str(error)
        raise ServerError(
            f"Port {port} of {host} cannot be listened on: {reason.partition(' (while ')[0]}.",
            "a free port (service.port) of one of this machine's addresses (service.host).",
            "stop what uses it, or choose others: BAROMETER__SERVICE__PORT, BAROMETER__SERVICE__HOST.",
        ) from None


def configured(app: Any, host: str, port: int) -> uvicorn.Config:
    """Return how uvicorn runs the ASGI application `app`."""
    from pipeline.service.server.protocol import Protocol

    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        headers=[("x-content-type-options", "nosniff")],
        timeout_graceful_shutdown=FINISH_SECONDS,
    )


class _NotForServing(MetaPathFinder):
    """Has the import of a module fail, as where it is not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        """Refuse a name that no request needs."""
        if fullname.partition(".")[0] in NOT_FOR_SERVING:
            raise ModuleNotFoundError(f"{fullname} is not for serving", name=fullname)


class _Server(uvicorn.Server):
    """Lets connections end with an answer before it closes them."""

    def __init__(self, config: uvicorn.Config, application: "Application", ready: Ready) -> None:
        super().__init__(config)
        self._front = application.front
        self._readiness = application.current.readiness
        self._stopped = application.stop
        self._settings = application.settings
        self._tell_ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._tell_ready(_address(self.config.host, self.config.port), self._readiness())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections once their answers are sent, then stop what works beside."""
        await super().shutdown(sockets)
        if cut_off := list(self.server_state.tasks):
            await asyncio.wait(cut_off, timeout=THREADS_SECONDS)  # so that the log has them too
        self._stopped()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # nobody reads it any more
                stream.flush()
        _after(THREADS_SECONDS, self._end)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order, with exit code 0; uvicorn's own would end the process by the signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        yield

    def _told_to_stop(self) -> None:
        """Let every connection end with an answer; told a second time, do not wait for answers."""
        if self._front.stopping:
            self.should_exit = self.force_exit = True
            return
        self._front.stopping = True
        _after(DRAIN_SECONDS + FINISH_SECONDS + LAST_SECONDS, partial(os._exit, 0))
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._exit)

    def _exit(self) -> None:
        self.should_exit = True

    def _end(self) -> None:
        """End the process, if it has not ended by itself.

        Not in order, since the order would be the fault: asyncio and the interpreter wait without bound for each thread
        of an executor. By then the log is written, which is flushed at each line, and so is what can be of the record;
        the embedded database server, if this process is its last user, would be left behind.
        """
        try:
            if self._settings.service.model_folder is None and self._settings.database.url is None:
                from pipeline.local.postgres import embedded

                embedded.detach(self._settings.home, run_as=self._settings.database.run_as)
        finally:
            os._exit(0)


def _after(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
