"""The seam to uvicorn's internals: an upgrade that changes them fails here, and the service answers without them."""

from collections.abc import Callable

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.service.server import front, protocol
from tests.service.raw import ask, instances, predict
from tests.service.server import Server


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each response, whether it was sent in one piece."""
    found: list[bool] = []
    whole = front.send_whole
    monkeypatch.setattr(front, "send_whole", lambda *given: found.append(whole(*given)) or found[-1])
    return found


def test_a_prediction_is_sent_in_one_piece(serve: Callable[..., Server], sent: list[bool]) -> None:
    reply = ask(serve().port, predict(instances()))
    assert sent == [True]
    assert reply.headers["x-content-type-options"] == "nosniff", "the server's own headers are sent too"


def test_without_the_internals_the_same_is_sent(
    serve: Callable[..., Server], sent: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, asked = serve().port, predict(instances(), {"X-Request-ID": "a"})
    whole = ask(port, asked)
    monkeypatch.setattr(protocol, "RequestResponseCycle", HttpToolsProtocol)
    in_pieces = ask(port, asked)
    assert sent == [True, False]
    assert (in_pieces.status, in_pieces.body, in_pieces.headers) == (whole.status, whole.body, whole.headers)


def test_the_protocol_overrides_what_uvicorn_has() -> None:
    own = {name for name, value in vars(protocol.Protocol).items() if callable(value) and not name.startswith("_")}
    assert own == {name for name in own if callable(getattr(HttpToolsProtocol, name, None))}
    for name in ("_unset_keepalive_if_required", "timeout_keep_alive_handler"):
        assert callable(getattr(HttpToolsProtocol, name))
