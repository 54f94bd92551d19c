"""What is written in one turn of the loop goes out together, whole and in order, and before the connection closes."""

import asyncio

import pytest

from pipeline.service.server.protocol import GATHERED_BYTES, Gathering


class Transport(asyncio.Transport):
    """Keeps what it is given to send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


@pytest.mark.parametrize(
    ("turns", "sent"),
    [
        ([[b"head", b"body"]], [b"headbody"]),
        ([[b"a"], [b"b", b"c"], []], [b"a", b"bc"]),
        ([[b"x" * GATHERED_BYTES, b"y", b"z"]], [b"x" * GATHERED_BYTES + b"y", b"z"]),
    ],
)
def test_what_is_written_in_a_turn_goes_out_together(turns, sent):
    transport = Transport()

    async def written() -> None:
        gathering = Gathering(transport, asyncio.get_running_loop())
        for turn in turns:
            for piece in turn:
                gathering.write(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(written())
    assert transport.sent == sent


def test_what_was_written_is_sent_before_closing_and_nothing_after():
    transport = Transport()

    async def written() -> None:
        gathering = Gathering(transport, asyncio.get_running_loop())
        gathering.write(b"last words")
        gathering.close()
        gathering.write(b"too late")
        await asyncio.sleep(0.01)

    asyncio.run(written())
    assert transport.sent == [b"last words"]
    assert transport.is_closed
