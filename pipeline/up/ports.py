"""Whether the ports of the services are free."""

import socket

from pipeline.errors import ServerError
from pipeline.settings import Settings


def check_ports(settings: Settings) -> None:
    """Refuse ports that somebody else listens on.

    Raises
    ------
    ServerError
        If one is taken, with the name of its setting.
    """
    for name, port in settings.services.model_dump().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ServerError(
                    found=f"Port {port} on 127.0.0.1 cannot be used: {error.strerror}.",
                    expected=f"a free port for services.{name}.",
                    do=f"stop what uses it, or choose another: BAROMETER__SERVICES__{name.upper()}={port + 1000}.",
                ) from None
