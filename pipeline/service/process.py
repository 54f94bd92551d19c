"""The process of the service: uvicorn, started and, on SIGTERM, ended in order. The entry point is `serve`."""

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
"""Packages that others import where they are installed (pyarrow: pandas, httpx: rich), for half a second and 50 MiB."""
# After SIGTERM; SageMaker kills a container 30 s after it.
DRAIN_SECONDS = 1.0
"""How long idle connections stay open. Every response closes its connection meanwhile."""
FINISH_SECONDS = 18
"""Then, how long requests may still be answered."""
LAST_SECONDS = 10.0
"""Then, how long the record and the background threads have to end before the process is cut off."""
THREADS_SECONDS = 1.0
"""When everything is written, how long threads may still wait for something, such as a silent database."""

Ready = Callable[[Mapping[str, Any]], None]
"""Called with the readiness (`Current.readiness`)."""


def serve(settings: Settings, ready: Ready = lambda _: None) -> None:
    """Serve until the process is told to stop; call `ready` once it listens.

    Raises ConfigError if the settings contradict each other, ServerError if the address cannot be listened on.
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
    gc.freeze()  # what exists now stays; to look through it at each collection costs a twentieth of an answer's time
    _Server(configured(application.front, host, port), application, ready).run(listeners)


class _NotForServing(MetaPathFinder):
    """Makes the import of some packages fail, as where they are not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        """Refuse a package that no request needs."""
        if fullname.partition(".")[0] in NOT_FOR_SERVING:
            raise ModuleNotFoundError(f"{fullname} is not for serving", name=fullname)


def listening(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on the port at all addresses of the host; ServerError if that is not possible."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in infos)
        return [socket.create_server(address, family=family) for family, address in addresses]
    except (OSError, UnicodeError) as error:  # the latter for a malformed name
        reason = getattr(error, "strerror", None) or str(error)
        found = f"The service cannot listen on port {port} of {host}: {reason.partition(' (while ')[0]}."
        expected = "a free port (service.port) at one of this machine's addresses (service.host)."
        do = "stop what uses it, or choose others: BAROMETER__SERVICE__PORT, BAROMETER__SERVICE__HOST."
        raise ServerError(found, expected, do) from None


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


class _Server(uvicorn.Server):
    """Lets each connection end with a response before it closes it."""

    def __init__(self, config: uvicorn.Config, application: "Application", ready: Ready) -> None:
        super().__init__(config)
        self._application, self._ready = application, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready(self._application.current.readiness())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections once their responses are sent, then stop the background threads."""
        await super().shutdown(sockets)
        if cut_off := list(self.server_state.tasks):
            await asyncio.wait(cut_off, timeout=THREADS_SECONDS)  # so that they are in the log too
        self._application.stop()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # its reader may have gone
                stream.flush()
        _call_later(THREADS_SECONDS, self._end)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order, with exit code 0; uvicorn's own handler would end the process by the signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        """Let every connection end with a response; at the second signal, do not wait for responses."""
        if self._application.front.stopping:
            self.should_exit = self.force_exit = True
            return
        self._application.front.stopping = True
        _call_later(DRAIN_SECONDS + FINISH_SECONDS + LAST_SECONDS, partial(os._exit, 0))
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self.handle_exit, signal.SIGTERM, None)

    def _end(self) -> None:
        """End the process, if it has not ended by itself.

        asyncio and the interpreter wait without bound for each thread of an executor, so this does not exit in order.
        By now the log is flushed and the record is written as far as it can be. The embedded database server would be
        left behind if this process is its last user.
        """
        settings = self._application.settings
        try:
            if settings.service.model_folder is None and settings.database.url is None:
                from pipeline.local.postgres import embedded

                embedded.detach(settings.home, run_as=settings.database.run_as)
        finally:
            os._exit(0)


def _call_later(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
