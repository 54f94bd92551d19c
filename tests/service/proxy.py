"""A wire to a server that can be cut and mended: what a network does to the service's database."""

import contextlib
import selectors
import socket
import threading
from typing import Self


class Wire:
    """Listens on a port of its own while a block lasts, and passes everything on unless it was cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.silent = threading.Event()
        """Set: connections are taken, and nothing is passed on."""
        self.connections = 0
        self._cut = threading.Event()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends `accept`

    def cut(self) -> None:
        """Break all connections and take no further one."""
        self._cut.set()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Pass on again."""
        self._cut.clear()
        self.silent.clear()

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                if self._cut.is_set():
                    near.close()
                    continue
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._to)) as far:
            self._pass_between(near, far)

    def _pass_between(self, near: socket.socket, far: socket.socket) -> None:
        self._open |= {near, far}
        other = {near: far, far: near}
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            if self._cut.is_set():  # since it was accepted, and `cut` may not have seen it
                return
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    content = key.fileobj.recv(65536)
                    while self.silent.is_set():
                        self._cut.wait(0.01)
                    if not content:
                        return
                    other[key.fileobj].sendall(content)
