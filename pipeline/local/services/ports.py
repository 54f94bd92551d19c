"""The check that the services' ports are free."""

import socket

from pipeline.errors import ServerError
from pipeline.settings import Settings


def check_ports(settings: Settings) -> None:
    """Refuse a port that another program uses, or that two settings name.

    Raises
    ------
    ServerError
        With the name of the setting.
    """
    ports = {f"services.{name}": ("127.0.0.1", port) for name, port in settings.services.model_dump().items()}
    ports["service.port"] = (settings.service.host, settings.service.port)
    taken: dict[int, str] = {}
    for setting, (host, port) in ports.items():
        reason = f"{taken[port]} names it too" if port in taken else _refusal(host, port)
        if reason:
            raise ServerError(
                f"Port {port} on {host} cannot be used: {reason}.",
                f"a free port for {setting}.",
                f"stop what uses it, or choose another: BAROMETER__{setting.upper().replace('.', '__')}={port + 1000}.",
            )
        taken[port] = setting


def _refusal(host: str, port: int) -> str | None:
    """Return why the port cannot be bound, or None if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
