"""Whether the ports of the services are free."""

import socket

from pipeline.errors import ServerError
from pipeline.settings import Settings


def check_ports(settings: Settings) -> None:
    """Refuse ports that somebody else listens on, and one that is given twice.

    Raises
    ------
    ServerError
        With the name of the setting.
    """
    ports = {f"services.{name}": ("127.0.0.1", port) for name, port in settings.services.model_dump().items()}
    ports["service.port"] = (settings.service.host, settings.service.port)
    taken: dict[int, str] = {}
    for setting, (host, port) in ports.items():
        reason = f"it is that of {taken[port]} too" if port in taken else _refusal(host, port)
        if reason:
            raise ServerError(
                f"Port {port} on {host} cannot be used: {reason}.",
                f"a free port for {setting}.",
                f"stop what uses it, or choose another: BAROMETER__{_variable(setting)}={port + 1000}.",
            )
        taken[port] = setting


def _refusal(host: str, port: int) -> str | None:
    """Return why nobody can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _variable(setting: str) -> str:
    return setting.upper().replace(".", "__")
