"""What `up` and `status` read from the service."""

import socket
import threading

from pipeline.local.services.components import service_readiness
from pipeline.settings import Settings
from tests.end_to_end.airflow import free_ports


def with_port(settings: Settings, port: int) -> Settings:
    return settings.model_copy(update={"service": settings.service.model_copy(update={"port": port})})


def test_nobody_answers(settings: Settings):
    assert service_readiness(with_port(settings, free_ports(1)[0])) is None


def test_another_program_answers(settings: Settings):
    for content in (b"hello", b'["status"]', b'{"name": "another"}'):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=answer_once, args=(listener, content), daemon=True).start()
            assert service_readiness(with_port(settings, listener.getsockname()[1])) is None


def answer_once(listener: socket.socket, content: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content) + content
        )
